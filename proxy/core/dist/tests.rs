#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use rand::SeedableRng;
use rand_distr::Distribution as _;
use rand_philox::Philox;

use super::*;
use crate::draw::DrawKey;
use crate::time::{MILLI, SECOND};

fn config(text: &str) -> Result<Distribution, String> {
    let config: DistributionConfig = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    config.build().map_err(|misfit| format!("{}: {}", misfit.field.unwrap_or("table"), misfit.message))
}

fn dist(text: &str) -> Distribution {
    config(text).unwrap()
}

const ALL: [&str; 8] = [
    "delay = '200ms'",
    "delay = '200ms'\njitter = '50ms'",
    "delay = '200ms'\njitter = '50ms'\ndistribution = 'normal'",
    "delay = '200ms'\np99 = '2s'\ndistribution = 'lognormal'",
    "delay = '200ms'\ndistribution = 'exponential'",
    "delay = '200ms'\ndistribution = 'pareto'",
    "quantiles = { p50 = '120ms', p90 = '600ms', p99 = '2s' }",
    "histogram = [['10ms', 120], ['20ms', 60], ['1s', 20]]",
];

#[test]
fn the_same_draws_give_these_delays_on_every_platform() {
    const DRAWS: [u64; 5] = [0, 0x0123_4567_89ab_cdef, 1 << 63, 0xfedc_ba98_7654_3210, u64::MAX];
    for (text, expected) in ALL.into_iter().zip(FROZEN) {
        let dist = dist(text);
        assert_eq!(DRAWS.map(|draw| dist.sample(draw, 0)), expected, "{text}");
    }
}

/// Draws of one unit, as the data plane makes them.
fn ours(dist: &Distribution, n: u64) -> Vec<f64> {
    let draw = DrawKey::new(7, "experiment", "fault").unit(3);
    (0..n).map(|step| dist.sample(draw.at(step), 0) as f64 / 1e9).collect()
}

/// Kolmogorov-Smirnov: the greatest distance between the two sample distributions.
fn distance(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |x: f64| b.partition_point(|y| *y <= x) as f64 / b.len() as f64;
    let n = a.len() as f64;
    a.iter().enumerate().map(|(i, x)| (below(*x) - (i + 1) as f64 / n).abs()).fold(0.0, f64::max)
}

#[test]
fn samples_follow_the_distributions_of_an_independent_implementation() {
    const N: u64 = 20_000;
    let theirs = |sample: &dyn Fn(&mut Philox) -> f64| -> Vec<f64> {
        let mut rng = Philox::seed_from_u64(1);
        (0..N).map(|_| sample(&mut rng).max(0.0)).collect()
    };
    let sigma = (2.0_f64 / 0.2).ln() / Z99;
    let uniform = rand_distr::Uniform::new(0.15, 0.25).unwrap();
    let normal = rand_distr::Normal::new(0.2, 0.05).unwrap();
    let lognormal = rand_distr::LogNormal::new(0.2_f64.ln(), sigma).unwrap();
    let exponential = rand_distr::Exp::new(1.0 / 0.2).unwrap();
    let pareto = rand_distr::Pareto::new(0.2, 3.0).unwrap();
    let samples: [(usize, Vec<f64>); 5] = [
        (1, theirs(&|rng| uniform.sample(rng))),
        (2, theirs(&|rng| normal.sample(rng))),
        (3, theirs(&|rng| lognormal.sample(rng))),
        (4, theirs(&|rng| exponential.sample(rng))),
        (5, theirs(&|rng| pareto.sample(rng))),
    ];
    for (index, theirs) in samples {
        let distance = distance(ours(&dist(ALL[index]), N), theirs);
        assert!(distance < 0.0195, "{}: {distance}", ALL[index]); // one in a thousand would be above, by chance
    }
    let shifted = distance(ours(&dist("delay = '203ms'\njitter = '50ms'"), N), ours(&dist(ALL[1]), N));
    assert!(shifted > 0.0195, "the test can fail: {shifted}");
}

/// The share of delays below or at `limit`, in per mille.
fn share(text: &str, limit: Time) -> u64 {
    let dist = dist(text);
    (0..1000).filter(|i| dist.sample(i * (u64::MAX / 1000) + u64::MAX / 2000, 0) <= limit).count() as u64
}

#[test]
fn quantiles_are_met_and_log_linear_between_points() {
    for (limit, expected) in [(120, 500), (600, 900), (2000, 1000)] {
        assert_eq!(share(ALL[6], limit * MILLI), expected);
    }
    assert_eq!(share(ALL[6], 120 * MILLI - 1), 0, "below the first point its value stands");
    assert_eq!(share(ALL[6], 2 * SECOND - 1), 990, "above the last point its value stands");
    let halfway = (120.0_f64 * 600.0).sqrt() as u64; // the geometric mean
    assert_eq!(share(ALL[6], (halfway + 1) * MILLI), 701);
    assert_eq!(share("quantiles = { p0 = '0ms', p100 = '100ms' }", 25 * MILLI), 250, "linear from 0");
}

#[test]
fn a_decimal_percentile_needs_no_quotes() {
    let quoted = dist("quantiles = { p50 = '1ms', 'p99.9' = '9ms' }");
    assert_eq!(quoted, dist("quantiles = { p50 = '1ms', p99.9 = '9ms' }"));
    assert_eq!(quoted.to_string(), "p50 1ms, p99.9 9ms");
}

#[test]
fn histograms_keep_the_share_of_each_bin() {
    assert_eq!(share(ALL[7], 10 * MILLI), 600);
    assert_eq!(share(ALL[7], 5 * MILLI), 300, "even within a bin");
    assert_eq!(share(ALL[7], 20 * MILLI), 900);
    assert_eq!(share("histogram = [['5ms', 0], ['10ms', 7]]", 5 * MILLI), 0, "an empty first bin is the minimum");
    let huge = dist("histogram = [['1ms', 4503599627370496], ['2ms', 4503599627370496]]");
    assert_eq!((huge.sample(1 << 63, 0), huge.sample(u64::MAX, 0)), (MILLI, 2 * MILLI));
}

#[test]
fn lognormal_meets_its_median_and_p99() {
    assert_eq!((share(ALL[3], 200 * MILLI), share(ALL[3], 2 * SECOND)), (500, 990));
}

#[test]
fn curves_move_delay_and_jitter() {
    let dist = dist("delay = { from = '0ms', to = '80ms', over = '4s' }\njitter = '20ms'\ndistribution = 'normal'");
    let middle = |elapsed| dist.sample(1 << 63, elapsed);
    assert_eq!((middle(0), middle(2 * SECOND), middle(9 * SECOND)), (0, 40 * MILLI, 80 * MILLI));
    assert_eq!(dist.sample(0, 0), 0, "never below 0");
    assert_eq!(dist.to_string(), "0s to 80ms over 4s ± 20ms normal");
}

#[test]
fn extreme_parameters_stay_in_range() {
    let heavy = dist("delay = '1s'\ndistribution = 'pareto'\nshape = 1e-9");
    assert_eq!(heavy.sample(u64::MAX, 0), Duration::MAX.0);
    let none = dist("delay = '0s'\ndistribution = 'pareto'\nshape = 1e-9");
    assert_eq!((none.sample(0, 0), none.sample(u64::MAX, 0)), (0, 0));
    assert_eq!(dist("delay = '0s'\ndistribution = 'lognormal'\np99 = '1s'").sample(1, 0), 0);
}

#[test]
fn fields_that_do_not_fit_are_named() {
    for (text, field, words) in [
        ("", "table", "give `delay`, `quantiles` or `histogram`"),
        ("jitter = '1ms'", "table", "`delay`"),
        ("delay = '1ms'\njitter = '1ms'\ndistribution = 'pareto'", "jitter", "\"uniform\" or \"normal\""),
        ("delay = '1ms'\np99 = '1s'", "p99", "\"lognormal\""),
        ("delay = '1ms'\np99 = '1s'\njitter = '1ms'\ndistribution = 'normal'", "p99", "\"lognormal\""),
        ("delay = '1ms'\nshape = 2", "shape", "\"pareto\""),
        ("delay = '1ms'\ndistribution = 'pareto'\nshape = 0", "shape", "above 0"),
        ("delay = '1ms'\ndistribution = 'pareto'\nshape = nan", "shape", "above 0"),
        ("delay = '1ms'\ndistribution = 'lognormal'", "distribution", "needs `p99`"),
        ("delay = '1s'\ndistribution = 'lognormal'\np99 = '1s'", "p99", "not above 1s"),
        ("quantiles = { p50 = '1ms', p99 = '2ms' }\njitter = '1ms'", "jitter", "`quantiles`"),
        ("quantiles = { p50 = '1ms', p99 = '2ms' }\nhistogram = []", "histogram", "`quantiles`"),
        ("quantiles = { p50 = '1ms' }", "quantiles", "two points"),
        ("quantiles = { p50 = '5ms', p99 = '2ms' }", "quantiles", "p99 = 2ms is below p50 = 5ms"),
        ("quantiles = { p50 = '1ms', 'p50.0' = '2ms' }", "quantiles", "p50 twice"),
        ("histogram = []", "histogram", "no values"),
        ("histogram = [['2ms', 1], ['1ms', 1]]", "histogram", "1ms comes after 2ms"),
        ("histogram = [['2ms', 9223372036854775807]]", "histogram", "more than"),
    ] {
        let message = config(text).unwrap_err();
        assert!(message.starts_with(&format!("{field}: ")) && message.contains(words), "{text}: {message}");
    }
    for (text, words) in [
        ("quantiles = { p101 = '1ms', p1 = '1ms' }", "`p101` is no quantile"),
        ("quantiles = { median = '1ms' }", "`median` is no quantile"),
        ("delay = '5'", "`5` is not a duration"),
        ("dealy = '5ms'", "unknown field `dealy`"),
    ] {
        let message = config(text).unwrap_err();
        assert!(message.contains(words), "{text}: {message}");
    }
}

/// ns, one line for each of [`ALL`].
const FROZEN: [[Time; 5]; 8] = [
    [200_000_000, 200_000_000, 200_000_000, 200_000_000, 200_000_000],
    [150_000_000, 150_444_444, 200_000_000, 249_555_556, 250_000_000],
    [0, 69_185_090, 200_000_000, 330_814_910, 610_476_808],
    [59_169, 15_010_406, 200_000_000, 2_664_818_033, 676_032_310_190],
    [0, 890_870, 138_629_436, 1_083_220_080, 7_347_360_114],
    [200_000_000, 200_297_177, 251_984_210, 1_216_440_399, 41_612_766_136_715],
    [120_000_000, 120_000_000, 120_000_000, 2_000_000_000, 2_000_000_000],
    [0, 74_056, 8_333_333, 956_407_227, 999_952_148],
];
