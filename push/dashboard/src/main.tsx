import './style/base.css';
import './style/header.css';
import './style/cards.css';
import './style/device.css';
import './style/panels.css';
import './style/registry.css';
import './style/commands.css';
import { render } from 'preact';
import { start } from './app.ts';
import { listenToKeys } from './keys.ts';
import { watchTheLag } from './lag.ts';
import { watchTheLobby } from './lobby.ts';
import { watchTheSession } from './session.ts';
import { App } from './view/App.tsx';

const root = document.getElementById('app');
if (root) {
  start();
  listenToKeys();
  watchTheSession();
  watchTheLobby();
  watchTheLag();
  render(<App />, root);
}
