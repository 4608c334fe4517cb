import { useSignal } from '@preact/signals';
import { found, query } from '../app.ts';
import { isAdmin } from '../session.ts';
import { s } from '../strings.ts';
import { AddButton } from './Add.tsx';
import { Card } from './Card.tsx';

/** Cards that are on the page at once: beyond, a browser on a small machine becomes slow. */
const page = 300;

export function DeviceList() {
  const shown = useSignal(page);
  const devices = found.value;
  if (devices.length === 0 && query.value !== '') {
    return (
      <div class="no-match">
        <p>{s.noMatch(query.value)}</p>
        <button class="button" type="button" onClick={() => (query.value = '')}>
          {s.clearSearch}
        </button>
      </div>
    );
  }
  const rest = devices.length - shown.value;
  return (
    <>
      <h1 class="visually-hidden">{s.devices(devices.length)}</h1>
      <ul class="cards">
        {devices.slice(0, shown.value).map((d) => (
          <Card key={d.id} device={d} />
        ))}
        {query.value === '' && isAdmin.value && (
          <li class="add-card">
            <AddButton />
          </li>
        )}
      </ul>
      {rest > 0 && (
        <button class="button more" type="button" onClick={() => (shown.value += page)}>
          {s.more(Math.min(rest, page))}
        </button>
      )}
    </>
  );
}
