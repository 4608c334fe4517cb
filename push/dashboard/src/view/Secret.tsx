import type { Changed } from '../api.ts';
import { s } from '../strings.ts';
import { kinds } from './Add.tsx';
import { Once, QR } from './Once.tsx';
import { CopyButton, Tabs } from './Tabs.tsx';

/** New secrets, the only time that they are shown, and how the device is told them. */
export function SecretDialog({ made }: { made: Changed }) {
  const { secrets = {}, setup } = made;
  const snippets = (setup?.snippets ?? []).map((x) => ({ id: x.platform.replaceAll(/\W+/g, '-'), label: x.platform, code: x.text }));
  return (
    <Once title={s.secret.title(made.name || made.id)}>
      {(onCopied) => (
        <>
          <div class="secrets">
            {setup?.qr && <QR rows={setup.qr} label={s.secret.qr} hint={s.secret.qrHint} />}
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
        </>
      )}
    </Once>
  );
}
