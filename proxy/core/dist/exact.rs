//! Logarithm, exponential and normal quantile from `+ - * /` and the square root alone. IEEE 754 defines these to the
//! last bit, so the results are the same on every platform, which those of the system's mathematics library are not.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
#![allow(clippy::cast_sign_loss, clippy::excessive_precision)]

use std::f64::consts::SQRT_2;

// ln 2 in two parts: the first has 32 trailing zero bits, so that its product with an exponent is exact
const LN2_HIGH: f64 = 6.931_471_803_691_238_164_90e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_700_02e-10;
const LN2: f64 = std::f64::consts::LN_2;

/// The natural logarithm of a positive, normal number.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh s, and |s| is below 0.172
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = polynomial(&ARTANH, square);
    let exponent = exponent as f64;
    exponent * LN2_HIGH + (2.0 * s * series + exponent * LN2_LOW)
}

/// e to the power of x; 0 where that is below the normal numbers, infinite where it is above the finite ones.
pub(super) fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let nearest = x / LN2 + if x < 0.0 { -0.5 } else { 0.5 };
    let power = nearest as i64;
    let rest = (x - power as f64 * LN2_HIGH) - power as f64 * LN2_LOW; // at most ln 2 / 2
    polynomial(&EXP, rest) * f64::from_bits(((power + 1023) as u64) << 52)
}

/// The value below which a standard normal variable stays with probability p, 0 < p < 1.
///
/// Algorithm AS 241, routine PPND16 (Wichura: "The percentage points of the normal distribution", 1988): relative
/// accuracy about 1e-16.
pub(super) fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&A, r) / polynomial(&B, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-ln(tail)).sqrt();
    let value = if r <= 5.0 {
        polynomial(&C, r - 1.6) / polynomial(&D, r - 1.6)
    } else {
        polynomial(&E, r - 5.0) / polynomial(&F, r - 5.0)
    };
    if q < 0.0 { -value } else { value }
}

/// Coefficients from the constant term up, an even number of them: two chains that a processor can run side by side.
fn polynomial<const N: usize>(coefficients: &[f64; N], x: f64) -> f64 {
    let square = x * x;
    let (mut even, mut odd) = (0.0, 0.0);
    for pair in coefficients.chunks_exact(2).rev() {
        even = even * square + pair[0];
        odd = odd * square + pair[1];
    }
    even + odd * x
}

/// 1/1, 1/3, 1/5, …
const ARTANH: [f64; 12] = {
    let mut series = [1.0; 12];
    let mut n = 1;
    while n < series.len() {
        series[n] = 1.0 / (2 * n + 1) as f64;
        n += 1;
    }
    series
};

/// 1/0!, 1/1!, 1/2!, …
const EXP: [f64; 14] = {
    let mut series = [1.0; 14];
    let mut n = 1;
    while n < series.len() {
        series[n] = series[n - 1] / n as f64;
        n += 1;
    }
    series
};

const A: [f64; 8] = [
    3.387_132_872_796_366_608,
    1.331_416_678_917_843_774_5e+2,
    1.971_590_950_306_551_442_7e+3,
    1.373_169_376_550_946_112_5e+4,
    4.592_195_393_154_987_145_7e+4,
    6.726_577_092_700_870_085_3e+4,
    3.343_057_558_358_812_810_5e+4,
    2.509_080_928_730_122_672_7e+3,
];
const B: [f64; 8] = [
    1.0,
    4.231_333_070_160_091_125_2e+1,
    6.871_870_074_920_579_083_0e+2,
    5.394_196_021_424_751_107_7e+3,
    2.121_379_430_158_659_586_7e+4,
    3.930_789_580_009_271_061_0e+4,
    2.872_908_573_572_194_267_4e+4,
    5.226_495_278_852_854_561_0e+3,
];
const C: [f64; 8] = [
    1.423_437_110_749_683_577_34,
    4.630_337_846_156_545_295_90,
    5.769_497_221_460_691_405_50,
    3.647_848_324_763_204_605_04,
    1.270_458_252_452_368_382_58,
    2.417_807_251_774_506_117_70e-1,
    2.272_384_498_926_918_458_33e-2,
    7.745_450_142_783_414_076_40e-4,
];
const D: [f64; 8] = [
    1.0,
    2.053_191_626_637_758_821_87,
    1.676_384_830_183_803_849_40,
    6.897_673_349_851_000_045_50e-1,
    1.481_039_764_274_800_745_90e-1,
    1.519_866_656_361_645_719_66e-2,
    5.475_938_084_995_344_946_00e-4,
    1.050_750_071_644_416_843_24e-9,
];
const E: [f64; 8] = [
    6.657_904_643_501_103_777_20,
    5.463_784_911_164_114_369_90,
    1.784_826_539_917_291_335_80,
    2.965_605_718_285_048_912_30e-1,
    2.653_218_952_657_612_309_30e-2,
    1.242_660_947_388_078_438_60e-3,
    2.711_555_568_743_487_578_15e-5,
    2.010_334_399_292_288_132_65e-7,
];
const F: [f64; 8] = [
    1.0,
    5.998_322_065_558_879_376_90e-1,
    1.369_298_809_227_358_053_10e-1,
    1.487_536_129_085_061_485_25e-2,
    7.868_691_311_456_132_591_00e-4,
    1.846_318_317_510_054_681_80e-5,
    1.421_511_758_316_445_888_70e-7,
    2.044_263_103_389_939_785_64e-15,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_agree_with_the_platform_to_a_few_last_bits() {
        let mut x = 1e-18;
        while x < 1e18 {
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0), "ln {x}");
            x *= 1.037;
        }
        let mut x = -700.0;
        while x < 700.0 {
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-15, "exp {x}");
            x += 0.173;
        }
        assert_eq!((exp(-1e9), exp(1e9), exp(0.0), ln(1.0)), (0.0, f64::INFINITY, 1.0, 0.0));
    }

    #[test]
    fn the_normal_quantile_has_its_published_values() {
        // from tables; the last two from Wichura's paper
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.99, 2.326_347_874_040_841),
            (0.001, -3.090_232_306_167_813_5),
            (0.25, -0.674_489_750_196_081_7),
            (1e-20, -9.262_340_089_798_408),
        ] {
            assert!((normal_quantile(p) - z).abs() < 3e-15 * z.abs().max(1.0), "{p}: {}", normal_quantile(p));
        }
    }
}
