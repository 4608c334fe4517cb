import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { about, type About } from '../api.ts';
import { isLoopback } from '../data/host.ts';
import { isAdmin, session } from '../session.ts';
import { snippets } from '../snippets.ts';
import { s } from '../strings.ts';
import { AddButton } from './Add.tsx';
import { Mark } from './Mark.tsx';
import { RefusedList } from './Refused.tsx';
import { Tabs } from './Tabs.tsx';

const defaultPort = 7700;

/** What stands here until there is something to see: how to send the first reading. */
export function Empty() {
  return session.value === null || isAdmin.value ? <FirstReading /> : <Watched devices={session.value.devices} />;
}

/** The same for who may only look. */
function Watched({ devices }: { devices: readonly string[] }) {
  return (
    <section class="empty">
      <div class="empty-head">
        <Mark />
        <h1>{s.empty.watched}</h1>
        <p>{devices.length > 0 ? s.empty.leadLimited(devices.join(', ')) : s.empty.leadWatched}</p>
      </div>
    </section>
  );
}

function FirstReading() {
  const known = useSignal<About | null>(null);
  const address = useSignal(location.hostname);
  const asked = useSignal(false);
  useEffect(() => {
    about().then(
      (a) => {
        known.value = a;
        const here = a.addresses.includes(location.hostname);
        address.value = here ? location.hostname : (a.addresses[0] ?? location.hostname);
        asked.value = true;
      },
      () => (asked.value = true), // No answer: the page's own host and the default ports are the best guess.
    );
  }, []);
  const to = { address: address.value, udp: known.value?.udp ?? defaultPort, tcp: known.value?.tcp ?? defaultPort };
  const addresses = known.value?.addresses ?? [];
  return (
    <section class="empty">
      <div class="empty-head">
        <Mark />
        <h1>
          {s.empty.title}
          <span class="waiting" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        </h1>
        <p>{addresses.length > 0 && addresses.every(isLoopback) ? s.empty.leadHere : s.empty.lead}</p>
        {asked.value && (
          <ul class="endpoints">
            <li>
              <code>udp://{to.address}:{to.udp}</code>
            </li>
            <li>
              <code>tcp://{to.address}:{to.tcp}</code>
            </li>
          </ul>
        )}
        {addresses.length > 1 && (
          <label class="chooser">
            <span>{s.empty.address}</span>
            <select value={address} onChange={(e) => (address.value = e.currentTarget.value)}>
              {addresses.map((a) => (
                <option key={a}>{a}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      {asked.value && <Tabs list={snippets(to)} label={s.empty.tabs} of="first" />}
      {isAdmin.value && (
        <>
          <p class="or-add">
            {s.empty.add} <AddButton />
          </p>
          <RefusedList quiet />
        </>
      )}
    </section>
  );
}
