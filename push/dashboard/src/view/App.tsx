import { useSignal, useSignalEffect } from '@preact/signals';
import { announcement, board, dialog, isEmpty, link, route } from '../app.ts';
import { s } from '../strings.ts';
import { ConnectionDialog } from './Connection.tsx';
import { DeviceList } from './DeviceList.tsx';
import { Empty } from './Empty.tsx';
import { Header } from './Header.tsx';
import { HelpDialog } from './Help.tsx';
import { Landing } from './Landing.tsx';
import { Later } from './Later.tsx';
import { StorageNotice } from './Notice.tsx';
import { RefusedDialog } from './Refused.tsx';
import { TokenForm } from './Token.tsx';

export function App() {
  return (
    <>
      <Header />
      <StorageNotice />
      <main id="main">
        <Main />
      </main>
      {isEmpty.value && <Landing />}
      <div class="visually-hidden" role="status" aria-live="polite">
        {announcement}
      </div>
      {dialog.value === 'connection' && <ConnectionDialog />}
      {dialog.value === 'refused' && <RefusedDialog />}
      {dialog.value === 'help' && <HelpDialog />}
    </>
  );
}

function Main() {
  // Only whether the link lacks the token, so that its other changes draw nothing here.
  const locked = useSignal(false);
  useSignalEffect(() => {
    locked.value = link.state.value.phase === 'unauthorized';
  });
  if (locked.value) return <TokenForm />;
  if (route.value !== null) return <Later key={route.value} id={route.value} />;
  if (!board.begun.value) return <p class="connecting">{s.connecting}</p>;
  if (isEmpty.value) return <Empty />;
  return <DeviceList />;
}
