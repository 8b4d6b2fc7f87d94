/*
 * Scripts of charts, which ECharts calls. What they draw is from the database: data, and text, never markup. Colours are
 * variables of style.css.
 */
window.charts = {
  // Explore: what is shown when somebody points at a line.
  values: (found) => {
    const box = document.createElement('div');
    const add = (text, tone) => {
      const line = document.createElement('div');
      line.textContent = text;
      line.className = tone || '';
      box.append(line);
    };
    const said = found.filter(one => one.value && one.value[2] !== undefined);
    if (said.length === 0) return '';
    add(new Date(said[0].value[0]).toISOString().slice(0, 19).replace('T', ' ') + ' UTC', 'explore-when');
    for (const one of said) {
      const [, value, level, low, high] = one.value;
      const show = number => number.toLocaleString('en-US', {maximumSignificantDigits: 6});
      if (value === null) { add(one.seriesName + ': no data'); continue; }
      const band = low === undefined || low === null ? '' : ` (${show(low)} to ${show(high)})`;
      add(`${one.seriesName}: ${show(value)}${band}, from ${level}`);
    }
    return box;
  },

  // The timeline: a span, by the looks of its state.
  bar: looks_of_states => (params, api) => {
    const looks = looks_of_states[api.value(5)], area = params.coordSys;
    const from = api.coord([api.value(0), api.value(2)]), to = api.coord([api.value(1), api.value(2) + 1]);
    const left = Math.max(from[0], area.x), right = Math.min(Math.max(to[0], from[0] + 3), area.x + area.width);
    if (right <= left) return null;
    const space = to[1] - from[1] - 26, slots = api.value(4), height = Math.max(3, space / slots - 1);
    const top = from[1] + 20 + api.value(3) * (space / slots);
    const width = right - left > 6 ? right - left - 1 : right - left;
    const strong = `var(--tl-${looks.name})`, children = [{
      type: 'rect', shape: {x: left, y: top, width, height, r: 2},
      style: {fill: `color-mix(in srgb, ${strong} 28%, var(--card))`, stroke: strong, lineWidth: width > 10 ? 1 : 0.5},
    }];
    if (width > 2) {
      let path = '';
      for (let at = -height; at < width; at += 7) {
        const low = Math.max(at, 0), high = Math.min(at + height, width);
        if (looks.upright && at >= 0) path += `M${left + at} ${top}V${top + height}`;
        if (looks.rising && low < high)
          path += `M${left + low} ${top + height - (low - at)}L${left + high} ${top + height - (high - at)}`;
        if (looks.falling && low < high) path += `M${left + low} ${top + low - at}L${left + high} ${top + high - at}`;
      }
      if (path) children.push({type: 'path', silent: true, shape: {pathData: path},
        style: {fill: 'none', stroke: strong, lineWidth: 1, opacity: 0.55}});
    }
    if (height >= 13 && width > looks.word.length * 7 + 10) children.push({type: 'text', silent: true, style: {
      text: looks.word, x: left + 5, y: top + height / 2, verticalAlign: 'middle', fill: 'var(--ink)', fontSize: 12,
      stroke: 'var(--card)', lineWidth: 3,
    }});
    return {type: 'group', children};
  },

  // The title of a lane, and the line above it.
  lane: (params, api) => {
    const at = api.coord([0, api.value(1)]), area = params.coordSys;
    return {type: 'group', silent: true, children: [
      {type: 'line', shape: {x1: area.x, x2: area.x + area.width, y1: at[1], y2: at[1]}, style: {stroke: 'var(--line)'}},
      {type: 'text', style: {text: String(api.ordinalRawValue(2)), x: area.x + 2, y: at[1] + 4, fill: 'var(--soft)',
        fontSize: 12, fontWeight: 600, width: area.width - 8, overflow: 'truncate', stroke: 'var(--card)', lineWidth: 3}},
    ]};
  },

  // A limit, or now, with words on a line of the given height.
  mark: height => (params, api) => {
    const area = params.coordSys, x = api.coord([api.value(0), 0])[0];
    if (x < area.x - 1 || x > area.x + area.width + 1) return null;
    const now = api.value(3) === 1, y = 8 + api.value(1) * height, right = x > area.x + area.width / 2;
    const colour = now ? 'var(--accent)' : 'var(--ink)';
    return {type: 'group', silent: true, children: [
      {type: 'line', shape: {x1: x, x2: x, y1: y, y2: area.y + area.height},
        style: {stroke: colour, lineWidth: now ? 2 : 1, lineDash: now ? null : [5, 3]}},
      {type: 'text', style: {text: String(api.ordinalRawValue(2)), x: right ? x - 5 : x + 5, y: y,
        align: right ? 'right' : 'left', fill: colour, fontSize: 12, fontWeight: now ? 600 : 400,
        width: area.width / 2 - 8, overflow: 'truncate'}},
    ]};
  },

  // What is shown when somebody points at a span.
  about: params => {
    const made = document.createElement('dl');
    for (const [label, value] of params.data.tip) {
      made.appendChild(document.createElement('dt')).textContent = label;
      made.appendChild(document.createElement('dd')).textContent = value;
    }
    return made;
  },
};
