import { useEffect, useRef } from 'preact/hooks';
import { board, dialog, everySecond, nextTheme, place, query, rate, river, theme } from '../app.ts';
import { textOf, write } from '../draw/cells.ts';
import { resized } from '../draw/canvas.ts';
import { number } from '../draw/format.ts';
import { waiting } from '../lobby.ts';
import { isAdmin, isLocked, session } from '../session.ts';
import { s } from '../strings.ts';
import { LinkButton } from './Connection.tsx';
import { Icon } from './Icon.tsx';
import { Hangul, Mark } from './Mark.tsx';

export function Header() {
  return (
    <header class="header">
      <div class="bar">
        <a class="brand" href="#/" aria-label={s.name}>
          <Mark />
          <span class="word">{s.name}</span>
          <Hangul />
        </a>
        {!isLocked.value && <Counts />}
        {!isLocked.value && place.value.page === 'list' && board.devices.value.length > 0 && <Search />}
        <nav class="tools">
          <LinkButton />
          {!isLocked.value && (isAdmin.value || session.value === null) && (
            <a class="tool" style={session.value === null ? 'visibility: hidden' : undefined} href="#/refused" aria-label={s.refused.title} title={s.refused.title}>
              <Icon name="inbox" />
            </a>
          )}
          {!isLocked.value && (
            <a class="tool" href="#/access" aria-label={s.grants.title} title={s.grants.title}>
              <Icon name="person" />
            </a>
          )}
          <button class="tool" type="button" aria-label={s.theme[theme.value]} title={s.theme[theme.value]} onClick={nextTheme}>
            <Icon name={theme.value} />
          </button>
          <button class="tool wide-only" type="button" aria-label={s.help.title} title={s.help.title} onClick={() => (dialog.value = { kind: 'help' })}>
            <Icon name="keys" />
          </button>
        </nav>
      </div>
      <RiverCanvas />
    </header>
  );
}

function Counts() {
  const rateRef = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    const node = rateRef.current && textOf(rateRef.current);
    if (!node) return;
    write(node, number(rate));
    return everySecond(() => write(node, number(rate)));
  }, []);
  const count = board.devices.value.length;
  return (
    <p class="counts">
      <span class="count-devices">{s.devices(count)}</span>
      {waiting.value.length > 0 && (
        <a class="count-waiting" href="#/">
          {s.waiting.short(waiting.value.length)}
        </a>
      )}
      <span class="count-rate">
        <span class="figure" ref={rateRef} /> {s.perSecond}
      </span>
    </p>
  );
}

function Search() {
  return (
    <div class="search">
      <Icon name="search" />
      <input
        id="search"
        type="search"
        autocomplete="off"
        spellcheck={false}
        placeholder={s.search}
        aria-label={s.search}
        aria-keyshortcuts="/"
        value={query}
        onInput={(e) => (query.value = e.currentTarget.value)}
      />
      <kbd aria-hidden="true">/</kbd>
    </div>
  );
}

function RiverCanvas() {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const canvas = ref.current;
    if (!canvas) return;
    const sizes = new ResizeObserver(([entry]) => {
      if (entry) resized(canvas, entry.contentRect.width, entry.contentRect.height);
      river.paint(canvas);
    });
    sizes.observe(canvas);
    const stop = everySecond(() => {
      if (!document.hidden) river.paint(canvas);
    });
    return () => {
      stop();
      sizes.disconnect();
    };
  }, []);
  return <canvas class="river" ref={ref} aria-hidden="true" />;
}
