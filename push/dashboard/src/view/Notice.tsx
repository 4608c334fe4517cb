import { storage } from '../app.ts';
import { s } from '../strings.ts';
import { Icon } from './Icon.tsx';

/** Says that readings are not kept, above everything else. */
export function StorageNotice() {
  const state = storage.value?.state ?? 'ok';
  return (
    <div role="alert">
      {state !== 'ok' && (
        <p class={`notice ${state}`}>
          <Icon name="warning" />
          <span>
            <strong>{state === 'full' ? s.storage.full : s.storage.failing}</strong>
            {storage.value?.detail && <span class="detail"> {storage.value.detail}</span>}
          </span>
        </p>
      )}
    </div>
  );
}
