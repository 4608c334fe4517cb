import { linkOf, type Given } from '../data/grant.ts';
import { accessSnippets } from '../snippets.ts';
import { s } from '../strings.ts';
import { Once, QR } from './Once.tsx';
import { CopyButton, Tabs } from './Tabs.tsx';

/** A new access token, the only time that it is shown, and what to do with it. */
export function GivenDialog({ given: { made, address, qr } }: { given: Given }) {
  const link = made.role === 'writer' ? null : linkOf(address, made.token);
  return (
    <Once title={s.given.title(made.name)}>
      {(onCopied) => (
        <>
          <div class="secrets">
            {qr && <QR rows={qr} label={s.given.qr} hint={s.given.qrHint} />}
            <dl>
              {link && <Line name={s.given.link} what={s.given.linkShort} text={link} onCopied={onCopied} autofocus />}
              <Line name={s.given.token} what={s.given.token} text={made.token} onCopied={onCopied} autofocus={link === null} />
            </dl>
          </div>
          <Tabs list={accessSnippets(made.role, address, made.token)} label={s.given.how} of="given" onCopied={onCopied} />
        </>
      )}
    </Once>
  );
}

interface LineProps {
  name: string;
  /** A short word for it. */
  what: string;
  text: string;
  onCopied: () => void;
  autofocus?: boolean;
}

function Line({ name, what, text, onCopied, autofocus = false }: LineProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <code>{text}</code>
        <CopyButton text={text} what={what} onCopied={onCopied} autofocus={autofocus} />
      </dd>
    </div>
  );
}
