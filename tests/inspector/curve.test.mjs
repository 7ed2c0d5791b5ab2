// What the time line knows of a long stream after few looks at it.
import assert from 'node:assert/strict';
import test from 'node:test';
import './typescript_hooks.mjs';

const { Curve, densities, zoomed } = await import('../../ui/src/inspector/timeline/curve.ts');
const { countTicks, timeTicks } = await import('../../ui/src/inspector/timeline/ticks.ts');

/** The times of a million records: bursts of any size between pauses of any length. */
function million(seed) {
  let state = seed;
  const dice = () => ((state = (state * 48271) % 2147483647) / 2147483647);
  const times = [];
  let now = 1_700_000_000_000;
  while (times.length < 1_000_000) {
    now += Math.floor(10 ** (dice() * 7));
    const step = 10 ** (dice() * 3 - 2);
    for (let left = Math.floor(10 ** (dice() * 5)); left > 0 && times.length < 1_000_000; left--) times.push(Math.floor((now += step)));
  }
  return times;
}

/** The index of the first record at or after a time. */
function indexAt(times, time) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function look(times, probe) {
  const seqNum = probe.kind === 'seqNum' ? probe.seqNum : indexAt(times, probe.time);
  return { seqNum, time: times[seqNum] };
}

/** Looks until nothing more is to be learnt of the span; gives how often. */
function refine(curve, times, span, most) {
  let looks = 0;
  for (let probes; looks < most && (probes = curve.probes(span, 6)).length > 0; looks += probes.length) {
    for (const probe of probes) curve.learn(probe, look(times, probe));
  }
  return looks;
}

function errorOf(curve, times, { from, to }) {
  const height = indexAt(times, to) - indexAt(times, from);
  let worst = 0;
  for (let index = 1; index < 400; index++) {
    const time = from + ((to - from) * index) / 400;
    // As far as the picture is wrong in either direction, whichever is less: a step may be a pixel too far left.
    const near = [-1, 0, 1].map((off) => indexAt(times, time + ((to - from) * off) / 400));
    const shown = curve.seqNumAt(time);
    const off = shown < near[0] ? near[0] - shown : shown > near[2] ? shown - near[2] : 0;
    worst = Math.max(worst, off / height);
  }
  return worst;
}

for (const seed of [1, 7, 1234]) {
  test(`a million records are drawn right after some hundred looks, and a part of them too (${seed})`, () => {
    const times = million(seed);
    const curve = new Curve();
    curve.add({ time: times[0], seqNum: 0 }, { time: times.at(-1), seqNum: times.length - 1 });
    const whole = { from: times[0], to: times.at(-1) };
    const looks = refine(curve, times, whole, 240);
    assert.ok(looks <= 246, `${looks} looks`);
    assert.ok(errorOf(curve, times, whole) < 0.02, `off by ${errorOf(curve, times, whole)}`);
    const middle = times[500_000];
    const part = zoomed(whole, 0.05, middle, whole);
    refine(curve, times, part, 240);
    assert.ok(errorOf(curve, times, part) < 0.02, `off by ${errorOf(curve, times, part)} when zoomed`);
    const places = curve.places;
    for (let index = 1; index < places.length; index++) {
      assert.ok(places[index].time >= places[index - 1].time && places[index].seqNum >= places[index - 1].seqNum);
    }
    const sum = densities(curve, whole, 150).reduce((one, other) => one + other, 0);
    assert.ok(Math.abs(sum - (times.length - 1)) < 1);
  });
}

test('a span never leaves the stream, however it is zoomed', () => {
  const whole = { from: 0, to: 1000 };
  for (const [factor, around] of [[0.5, 0], [0.5, 1000], [0.01, 500], [4, 500], [Infinity, 3]]) {
    const { from, to } = zoomed({ from: 200, to: 400 }, factor, around, whole);
    assert.ok(from >= 0 && to <= 1000 && to > from, `${factor} around ${around}: ${from} to ${to}`);
  }
});

test('axes have few, round and different labels', () => {
  for (const length of [30, 500, 9_000, 70_000, 4_000_000, 90_000_000, 3_000_000_000]) {
    const ticks = timeTicks(1_700_000_123_456, 1_700_000_123_456 + length, 8);
    assert.ok(ticks.length >= 1 && ticks.length <= 9, `${ticks.length} ticks of ${length} ms`);
    assert.equal(new Set(ticks.map(({ label }) => label)).size, ticks.length);
  }
  assert.deepEqual(countTicks(0, 10, 6), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(countTicks(0, 1, 6), [0, 1]);
});
