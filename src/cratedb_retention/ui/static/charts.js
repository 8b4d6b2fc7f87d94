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
};
