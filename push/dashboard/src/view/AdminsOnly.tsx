import { s } from '../strings.ts';
import { Icon } from './Icon.tsx';

/** What stands where something is that we may not see. */
export function AdminsOnly() {
  return (
    <div class="guard admins-only">
      <Icon name="lock" />
      <p>
        <strong>{s.adminsOnly.title}</strong> <span>{s.adminsOnly.text}</span>
      </p>
    </div>
  );
}
