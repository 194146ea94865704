/** A network namespace with one veth to this one, whose address can change. Knows nothing of browsers. */

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const run = (program, words) => execFileSync(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
const ip = (...words) => run('ip', words);
/** What a home router's queue holds, in time. */
const QUEUE_MS = 200;

/** Whether namespaces can be made here: they need root. */
export function possible() {
  return process.getuid?.() === 0;
}

export class Namespace {
  #next = 2;

  /** Takes a subnet by the process id, so that two runs don't meet. */
  constructor(t) {
    const mark = process.pid % 250;
    this.name = `tidegate-${process.pid}`;
    this.inside = `tgi${process.pid}`;
    this.outside = `tgo${process.pid}`;
    this.subnet = `10.91.${mark}`;
    this.hostAddress = `${this.subnet}.1`;
    t.after(() => this.remove());
    ip('netns', 'add', this.name);
    ip('link', 'add', this.outside, 'type', 'veth', 'peer', 'name', this.inside, 'netns', this.name);
    ip('addr', 'add', `${this.hostAddress}/24`, 'dev', this.outside);
    ip('link', 'set', this.outside, 'up');
    ip('-n', this.name, 'link', 'set', 'lo', 'up');
    ip('-n', this.name, 'addr', 'add', this.address, 'dev', this.inside);
    ip('-n', this.name, 'link', 'set', this.inside, 'up');
    ip('-n', this.name, 'route', 'add', 'default', 'via', this.hostAddress);
  }

  get address() {
    return `${this.subnet}.${this.#next}/24`;
  }

  /** As when a laptop changes its Wi-Fi: the old address is gone before the new one comes. */
  changeAddress() {
    ip('-n', this.name, 'addr', 'del', this.address, 'dev', this.inside);
    this.#next += 1;
    ip('-n', this.name, 'addr', 'add', this.address, 'dev', this.inside);
    ip('-n', this.name, 'route', 'replace', 'default', 'via', this.hostAddress);
  }

  /** As behind a firewall that passes TCP alone. */
  blockUdp() {
    ip('-n', this.name, 'rule', 'add', 'ipproto', 'udp', 'blackhole', 'pref', '100');
  }

  /** Makes what goes inside pass a queue of this rate, which may be changed while it runs. */
  limitTo(kbps) {
    run('tc', ['qdisc', 'replace', 'dev', this.outside, 'root', 'tbf', 'rate', `${kbps}kbit`, 'burst', '16kb', 'latency', `${QUEUE_MS}ms`]);
  }

  /** A program that runs Chromium inside. */
  chromium(path) {
    const script = join(mkdtempSync(join(tmpdir(), 'tidegate-netns-')), 'chromium');
    writeFileSync(script, `#!/bin/sh\nexec ip netns exec ${this.name} ${path} "$@"\n`);
    chmodSync(script, 0o755);
    return script;
  }

  remove() {
    try {
      ip('netns', 'del', this.name);
      ip('link', 'del', this.outside);
    } catch {
      // The veth goes with the namespace, sooner or later.
    }
  }
}
