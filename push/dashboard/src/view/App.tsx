import { announcement, board, dialog, isEmpty, place, route } from '../app.ts';
import { settled } from '../lobby.ts';
import { isLocked } from '../session.ts';
import { s } from '../strings.ts';
import { AddDialog } from './Add.tsx';
import { AskDialog } from './Ask.tsx';
import { ConnectionDialog } from './Connection.tsx';
import { DeviceList } from './DeviceList.tsx';
import { Empty } from './Empty.tsx';
import { Header } from './Header.tsx';
import { HelpDialog } from './Help.tsx';
import { Landing } from './Landing.tsx';
import { Later, loadAccessPage, loadDevicePage } from './Later.tsx';
import { LoginForm } from './Login.tsx';
import { StorageNotice } from './Notice.tsx';
import { RefusedPage } from './Refused.tsx';
import { SecretDialog } from './Secret.tsx';
import { WaitingList } from './Waiting.tsx';

export function App() {
  return (
    <>
      <Header />
      <StorageNotice />
      <main id="main">
        <Main />
      </main>
      {isEmpty.value && !isLocked.value && <Landing />}
      <div class="visually-hidden" role="status" aria-live="polite">
        {announcement}
      </div>
      <OpenDialog />
    </>
  );
}

function OpenDialog() {
  const open = dialog.value;
  switch (open?.kind) {
    case undefined:
      return null;
    case 'connection':
      return <ConnectionDialog />;
    case 'help':
      return <HelpDialog />;
    case 'add':
      return <AddDialog device={null} />;
    case 'admit':
      return <AddDialog device={open.device} />;
    case 'ask':
      return <AskDialog question={open.question} />;
    case 'secret':
      return <SecretDialog made={open.made} />;
    case 'later':
      return <open.View />;
  }
}

function Main() {
  if (isLocked.value) return <LoginForm />;
  const id = route.value;
  if (id !== null) return <Later key={`device ${id}`} load={() => loadDevicePage(id)} />;
  if (place.value.page === 'refused') return <RefusedPage />;
  if (place.value.page === 'access') return <Later key="access" load={loadAccessPage} />;
  if (!board.begun.value || !settled.value) return <p class="connecting">{s.connecting}</p>;
  return (
    <>
      <WaitingList />
      {isEmpty.value ? <Empty /> : <DeviceList />}
    </>
  );
}
