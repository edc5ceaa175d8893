// What is looked at in a page. Each function runs inside it, takes plain values, and returns plain values; none
// knows of another.

/** What sticks out of the page to the right, so that it has to be scrolled sideways. */
export function overflow() {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const scrolls = (element) => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflowX !== 'visible') return true;
    }
    return false;
  };
  const named = (element) => {
    const owner = element.closest('[id]');
    return `${element.tagName.toLowerCase()} in ${owner ? '#' + owner.id : 'body'}`;
  };
  const out = [...document.body.querySelectorAll('*')]
    .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1 && !scrolls(element))
    .map((element) => `${named(element)} ends at ${Math.round(element.getBoundingClientRect().right)}`);
  return [`the page is ${root.scrollWidth} wide in ${root.clientWidth}`, ...out.slice(0, 5)];
}

/** Sections that are missing, not to be seen, without a heading, or in another order than `ids`. */
export function sections(ids) {
  const wrong = [];
  const visible = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && element.checkVisibility({ visibilityProperty: true });
  };
  const found = ids.map((id) => document.getElementById(id)).filter(Boolean);
  for (const id of ids) {
    const section = document.getElementById(id);
    if (!section) {
      wrong.push(`no #${id}`);
      continue;
    }
    if (!visible(section)) wrong.push(`#${id} is not to be seen`);
    const heading = section.matches('h1,h2,h3') ? section : section.querySelector('h1,h2,h3');
    if (!heading || !visible(heading) || !heading.textContent.trim()) wrong.push(`#${id} has no heading`);
  }
  const follows = (before, after) => before.compareDocumentPosition(after) & Node.DOCUMENT_POSITION_FOLLOWING;
  found.slice(1).forEach((section, at) => {
    if (!follows(found[at], section)) wrong.push(`#${section.id} stands before #${found[at].id}`);
  });
  return wrong;
}

/**
 * The drawings of the page by the section they are in, and what is wrong with them. A drawing has marks of some
 * size, a name, and a table beside it; its texts are legible, inside it, and apart.
 */
export function drawings(smallest) {
  const wrong = [];
  const count = {};
  const sized = (box) => box.width > 0.5 || box.height > 0.5;
  const painted = (mark) => {
    const style = getComputedStyle(mark);
    return (style.fill !== 'none' || style.stroke !== 'none') && style.visibility === 'visible';
  };
  const overlap = (a, b) => {
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    return width > 1 && height > 1 ? (width * height) / Math.min(a.width * a.height, b.width * b.height) : 0;
  };
  const texts = (svg, where) => {
    const frame = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width ? frame.width / svg.viewBox.baseVal.width : 1;
    const shown = [...svg.querySelectorAll('text')]
      .map((text) => ({ text, box: text.getBoundingClientRect(), says: text.textContent.trim() }))
      .filter(({ box, says }) => says && box.width > 0);
    shown.forEach(({ text, box, says }, at) => {
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < smallest) wrong.push(`${where}: "${says}" is ${size.toFixed(1)} px high`);
      const across = Math.max(frame.left - box.left, box.right - frame.right);
      const beyond = Math.max(across, frame.top - box.top, box.bottom - frame.bottom);
      if (beyond > 2) wrong.push(`${where}: "${says}" is ${beyond.toFixed(0)} px outside the drawing`);
      const over = shown.slice(at + 1).find((other) => overlap(box, other.box) > 0.15);
      if (over) wrong.push(`${where}: "${says}" and "${over.says}" overlap`);
    });
  };
  for (const svg of document.querySelectorAll('main svg')) {
    const box = svg.getBoundingClientRect();
    // What is inside a closed `details` is not drawn yet.
    if (svg.closest('details:not([open])')) continue;
    const section = svg.closest('section[id]');
    const where = section ? `#${section.id}` : 'svg outside of every section';
    const marks = [...svg.querySelectorAll('path,polyline,polygon,rect,circle,line')].filter(
      (mark) => !mark.closest('defs,clipPath,pattern') && painted(mark) && sized(mark.getBBox())
    );
    if (box.width < 1 || box.height < 1) wrong.push(`${where}: a drawing without size`);
    else if (!marks.some((mark) => mark.matches('path,polyline,polygon,rect,circle'))) {
      wrong.push(`${where}: a drawing without a mark`);
    } else count[section ? section.id : ''] = (count[section ? section.id : ''] ?? 0) + 1;
    if (section && !section.querySelector('table')) wrong.push(`${where}: a drawing without a table`);
    texts(svg, where);
  }
  return { count, wrong };
}

/** Ids that occur twice, and links that lead nowhere in the page. */
export function references() {
  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `two elements are #${id}`);
  const dead = [...document.querySelectorAll('a[href^="#"]')]
    .map((link) => decodeURIComponent(link.getAttribute('href').slice(1)))
    .filter((id) => !document.getElementById(id))
    .map((id) => `a link leads to #${id}, which is not there`);
  return [...twice, ...dead];
}

/** Whether the page's own policy allows nothing but its styles. */
export function policy() {
  const meta = document.querySelector('meta[http-equiv="Content-Security-Policy"]');
  if (!meta) return ['no content security policy'];
  const rules = meta.content.split(';').map((rule) => rule.trim()).filter(Boolean);
  const allows = rules.filter((rule) => !rule.endsWith("'none'") && !rule.startsWith('style-src '));
  const wrong = allows.map((rule) => `the policy allows ${rule}`);
  return rules.includes("default-src 'none'") ? wrong : ['the policy does not begin with nothing', ...wrong];
}

/** What has the focus, and whether that can be seen. */
export function focused() {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  element.dataset.reached = '';
  return {
    tag: element.tagName.toLowerCase(),
    name: element.getAttribute('aria-label') || element.id || element.textContent.replace(/\s+/g, ' ').trim().slice(0, 40),
    href: element.getAttribute('href'),
    marked: style.outlineStyle !== 'none' || style.boxShadow !== 'none',
    visible: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0,
  };
}

/** What can be scrolled or opened and has not had the focus. */
export function unreached() {
  const named = (element) => `${element.tagName.toLowerCase()} in #${element.closest('[id]')?.id ?? ''}`;
  const scrollable = (element) => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);
  const scrolls = (element) => element.scrollWidth > element.clientWidth + 1 && scrollable(element);
  return [...document.querySelectorAll('main *')]
    .filter((element) => element.checkVisibility() && (element.tagName === 'SUMMARY' || scrolls(element)))
    .filter((element) => !('reached' in element.dataset) && !element.querySelector('[data-reached]'))
    .map(named);
}

/** Opens everything that can be opened. */
export function openAll() {
  document.querySelectorAll('details').forEach((details) => {
    details.open = true;
  });
}
