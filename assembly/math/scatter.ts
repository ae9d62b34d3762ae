/** Rows of `count` values at `rows`, one an output, into what is stored: those of value i side by side at word `table[i]` of `stored`. */
export function scatter(stored: usize, rows: usize, outputs: usize, count: usize, table: usize): void {
  const length = count << 2;
  const end = rows + length * outputs;
  for (let i: usize = 0; i < length; i += 4) {
    let to = stored + ((load<u32>(table + i) as usize) << 2);
    for (let from = rows + i; from < end; from += length) {
      store<f32>(to, load<f32>(from));
      to += 4;
    }
  }
}
