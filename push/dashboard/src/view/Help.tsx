import { s } from '../strings.ts';
import { Sheet } from './Dialog.tsx';

export function HelpDialog() {
  return (
    <Sheet title={s.help.title} kind="help">
      <dl class="keys">
        {s.help.keys.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(' ').map((k) => (
                <kbd key={k}>{k}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Sheet>
  );
}
