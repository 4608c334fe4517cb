import { useSignal } from '@preact/signals';
import type { Changed } from '../api.ts';
import { dialog } from '../app.ts';
import { s } from '../strings.ts';
import { kinds } from './Add.tsx';
import { Sheet } from './Dialog.tsx';
import { Icon } from './Icon.tsx';
import { CopyButton, Tabs } from './Tabs.tsx';

/** New secrets, the only time that they are shown, and how the device is told them. */
export function SecretDialog({ made }: { made: Changed }) {
  const copied = useSignal(false);
  const warned = useSignal(false);
  const onCopied = (): void => {
    copied.value = true;
    warned.value = false;
  };
  const mayClose = (): boolean => {
    if (copied.value || warned.value) return true;
    warned.value = true;
    return false;
  };
  const { secrets = {}, setup } = made;
  const snippets = (setup?.snippets ?? []).map((x) => ({ id: x.platform.replaceAll(/\W+/g, '-'), label: x.platform, code: x.text }));
  return (
    <Sheet title={s.secret.title(made.name || made.id)} kind="secret" mayClose={mayClose}>
      <p class="notice">
        <Icon name="warning" />
        <strong>{s.secret.once}</strong>
      </p>
      <div class="secrets">
        {setup?.qr && (
          <figure>
            <QR rows={setup.qr} />
            <figcaption class="note">{s.secret.qrHint}</figcaption>
          </figure>
        )}
        <dl>
          {kinds.map((kind) => {
            const secret = secrets[kind];
            return (
              secret && (
                <div key={kind}>
                  <dt>{s.kinds[kind].name}</dt>
                  <dd>
                    <code>{secret}</code>
                    <CopyButton text={secret} what={s.kinds[kind].name} onCopied={onCopied} autofocus />
                  </dd>
                </div>
              )
            );
          })}
        </dl>
      </div>
      {snippets.length > 0 && <Tabs list={snippets} label={s.secret.how} of="secret" onCopied={onCopied} />}
      {!isSecureContext && <p class="note">{s.secret.plain}</p>}
      <div class="answers">
        <p class="unsaved" role="alert">
          {warned.value && s.secret.unsaved}
        </p>
        <button
          class={`button ${warned.value ? 'danger' : 'primary'}`}
          type="button"
          onClick={() => {
            if (mayClose()) dialog.value = null;
          }}
        >
          {warned.value ? s.secret.anyway : s.secret.done}
        </button>
      </div>
    </Sheet>
  );
}

/** Light modules that belong around a QR code. */
const quiet = 4;

function QR({ rows }: { rows: readonly string[] }) {
  const size = rows.length + 2 * quiet;
  const path = rows
    .flatMap((row, y) => [...row.matchAll(/#+/g)].map((run) => `M${run.index + quiet} ${y + quiet}h${run[0].length}v1h-${run[0].length}z`))
    .join('');
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={s.secret.qr} shape-rendering="crispEdges">
      <path d={path} />
    </svg>
  );
}
