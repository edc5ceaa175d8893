// Opens a report in Debian's Chromium, from the disk and without a network, and says what is wrong with it.
//
//     node report.mjs PAGE.html [--shots DIR] [--json]
//
// Looked at: light and dark, 1280 and 400 px wide, on paper, by keyboard, and with the rules of axe-core. The
// page's own content security policy holds, except where axe-core is put into it. With --shots, pictures of each
// view and each of its sections are written to a directory.
//
// CHROMIUM names another browser of that family. Exit status: 0 nothing wrong, 3 something is, 1 anything else.

import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { drawings, focused, openAll, overflow, policy, references, sections, unreached } from './looks.mjs';

// Packages are found by NODE_PATH, which `import` does not look at.
const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');

/** The sections of a report, in their order. */
const SECTIONS = [
  'verdict', 'roll-up', 'rates', 'in-flight', 'percentiles', 'heat-map', 'curve', 'phases', 'outcomes',
  'throttling', 'retries', 'matrix', 'hubs', 'tls', 'certificates', 'generator', 'shards', 'comparison',
  'events', 'ledger', 'capacity', 'config',
];

/** Those in which a run of any length has something to draw. */
const DRAWN = ['rates', 'in-flight', 'percentiles', 'heat-map', 'curve', 'phases', 'outcomes'];

/** Texts of a drawing that are smaller than this, in pixels, cannot be read. */
const SMALLEST_TEXT = 8.5;

/** More stops than this, and the tabulator goes around in circles. */
const MOST_STOPS = 2000;

/** Of A4 at 96 pixels an inch, less the margins that printers leave. */
const PAPER = 718;

const VIEWS = ['light', 'dark'].flatMap((scheme) =>
  [1280, 400].map((width) => ({ name: `${scheme}-${width}`, scheme, width }))
);

/** No process of the browser finds anything beyond this machine, nor asks for it. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND',
];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { shots: { type: 'string' }, json: { type: 'boolean' } },
});
const file = resolve(positionals[0]);
const address = pathToFileURL(file).href;
if (options.shots) mkdirSync(options.shots, { recursive: true });

const found = {
  page: file,
  bytes: statSync(file).size,
  load_ms: 0,
  console_errors: [],
  requests: [],
  policy_violations: [],
  sections: 0,
  drawings: {},
  tab_stops: 0,
  printed_pages: 0,
  axe: { passed: 0, violations: [] },
  wrong: [],
};
const [errors, requests, violations] = [new Set(), new Set(), new Set()];
const tell = (view, what) => found.wrong.push(...what.map((text) => `${view}: ${text}`));

/** A page of its own, which nothing but the file itself is loaded into. */
async function opened(browser, view, more = {}) {
  const context = await browser.newContext({
    viewport: { width: view.width, height: 900 },
    colorScheme: view.scheme,
    offline: true,
    serviceWorkers: 'block',
    ...more,
  });
  await context.route('**/*', (route) => {
    const url = route.request().url();
    if (url === address) return route.continue();
    requests.add(url);
    return route.abort();
  });
  await context.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => {
      globalThis.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) errors.add(message.text());
  });
  page.on('pageerror', (error) => errors.add(String(error)));
  // What the policy blocks is no request, and not every request for a file comes by the route.
  page.on('request', (request) => {
    if (request.url() !== address) requests.add(request.url());
  });
  const before = performance.now();
  await page.goto(address, { waitUntil: 'load' });
  found.load_ms = Math.max(found.load_ms, Math.round(performance.now() - before));
  return page;
}

async function view(browser, view) {
  const page = await opened(browser, view);
  tell(view.name, await page.evaluate(overflow));
  tell(view.name, await page.evaluate(sections, SECTIONS));
  tell(view.name, await page.evaluate(references));
  tell(view.name, await page.evaluate(policy));
  const { count, wrong } = await page.evaluate(drawings, SMALLEST_TEXT);
  tell(view.name, wrong);
  tell(view.name, DRAWN.filter((id) => !count[id]).map((id) => `#${id} has no drawing`));
  found.drawings = count;
  found.sections = await page.locator(SECTIONS.map((id) => `#${id}`).join()).count();
  await keyboard(page, view);
  if (options.shots) await shots(page, view);
  await page.evaluate(openAll);
  tell(`${view.name} opened`, await page.evaluate(overflow));
  (await page.evaluate(() => globalThis.violations)).forEach((violation) => violations.add(violation));
  await page.context().close();
}

/** Goes through the page with the tabulator until it comes around. */
async function keyboard(page, view) {
  const stops = [];
  const next = async () => {
    await page.keyboard.press('Tab');
    return page.evaluate(focused);
  };
  for (let stop = await next(); stop && stops.length < MOST_STOPS; stop = await next()) {
    if (stops.length === 0) tell(view.name, await skips(page, stop));
    stops.push(stop);
  }
  if (stops.length === 0) tell(view.name, ['nothing takes the focus']);
  found.tab_stops = Math.max(found.tab_stops, stops.length);
  const unmarked = stops.filter((stop) => !stop.marked);
  tell(view.name, unmarked.map((stop) => `not marked when it has the focus: ${stop.tag} ${stop.name}`));
  tell(view.name, (await page.evaluate(unreached)).map((what) => `not reached by keyboard: ${what}`));
}

/** What is wrong with the first stop, which is to be a link past everything that comes before the content. */
async function skips(page, stop) {
  const { tag, name, href } = stop;
  if (tag !== 'a' || !href?.startsWith('#')) return [`the first stop is ${tag} ${name}, no skip link`];
  if (!stop.visible) return ['the skip link is not to be seen when it has the focus'];
  const leads = await page.evaluate((id) => Boolean(document.getElementById(id)), href.slice(1));
  return leads ? [] : [`the skip link leads to ${href}, which is not there`];
}

async function shots(page, view) {
  const at = (name) => join(options.shots, `${view.name}-${name}.png`);
  await page.mouse.move(0, 0);
  await page.evaluate(() => {
    document.activeElement.blur();
    scrollTo(0, 0);
  });
  await page.screenshot({ path: at('top') });
  await page.screenshot({ path: at('whole'), fullPage: true });
  for (const id of SECTIONS) {
    const section = page.locator(`#${id}`);
    if (!(await section.isVisible())) continue;
    await section.evaluate((element) => element.scrollIntoView());
    await page.screenshot({ path: at(id) });
  }
}

async function paper(browser) {
  const page = await opened(browser, { scheme: 'dark', width: PAPER });
  await page.emulateMedia({ media: 'print' });
  tell('print', await page.evaluate(overflow));
  tell('print', await page.evaluate(sections, SECTIONS));
  tell('print', (await page.evaluate(drawings, 6)).wrong);
  const ink = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  if (!['rgb(255, 255, 255)', 'rgba(0, 0, 0, 0)'].includes(ink)) tell('print', [`the paper is painted ${ink}`]);
  const pdf = await page.pdf({ format: 'A4', printBackground: true });
  found.printed_pages = pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)?.length ?? 0;
  if (found.printed_pages === 0) tell('print', ['not a page was printed']);
  if (options.shots) writeFileSync(join(options.shots, 'print.pdf'), pdf);
  await page.context().close();
}

/** Holds the page, with everything opened, against the rules of axe-core. */
async function accessible(browser, view, axe) {
  const page = await opened(browser, view, { bypassCSP: true });
  await page.evaluate(openAll);
  await page.evaluate(axe);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  found.axe.passed = Math.max(found.axe.passed, result.passes.length);
  for (const { id, impact, help, nodes } of result.violations) {
    const places = nodes.slice(0, 5).map((node) => ({ at: node.target.join(' '), why: node.failureSummary }));
    found.axe.violations.push({ view: view.name, id, impact, help, count: nodes.length, places });
  }
  await page.context().close();
}

// Colours are those of a scheme, and what fits is that of a width: two views have both of each.
const JUDGED = ['light-1280', 'dark-400'];
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: FLAGS, headless: true });
try {
  const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
  for (const each of VIEWS) {
    await view(browser, each);
    if (JUDGED.includes(each.name)) await accessible(browser, each, axe);
  }
  await paper(browser);
} finally {
  await browser.close();
}

found.console_errors = [...errors];
found.requests = [...requests];
found.policy_violations = [...violations];
const serious = found.axe.violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
const faults = [found.wrong, found.console_errors, found.requests, found.policy_violations, serious];
process.stdout.write(options.json ? JSON.stringify(found) + '\n' : told());
process.exitCode = faults.some((list) => list.length > 0) ? 3 : 0;

function told() {
  const lists = [
    ['wrong', found.wrong],
    ['console', found.console_errors],
    ['requests', found.requests],
    ['policy', found.policy_violations],
    ['axe', found.axe.violations.map(violation)],
  ];
  const { bytes, load_ms, sections, drawings, tab_stops, printed_pages, axe } = found;
  const facts = { bytes, load_ms, sections, drawings, tab_stops, printed_pages, axe_passed: axe.passed };
  const lines = lists.flatMap(([name, list]) => list.map((text) => `${name}: ${text}`));
  return [JSON.stringify(facts), ...lines, ''].join('\n');
}

function violation({ view, impact, id, count, help, places }) {
  return `${view} ${impact} ${id} ${count} times: ${help}; ${places[0].at}`;
}
