//! What is measured: which sum or which spread of values, and how its figures are written.

use crate::domain::money::Total;
use crate::report::format;
use crate::report::scale::Unit;
use crate::store::explore::Timing;
use crate::store::rollups::Sums;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Measure {
    /// What completions cost.
    #[default]
    Spend,
    /// How many there were.
    Completions,
    /// Native prompt tokens.
    TokensIn,
    /// Native completion tokens.
    TokensOut,
    /// Those of them that were reasoning.
    Reasoning,
    /// Native prompt tokens that a cache had.
    Cached,
    /// Time until OpenRouter's reply, as its record tells.
    Latency,
    /// Time until the reply's first byte, as measured here.
    FirstByte,
    /// Native completion tokens in a second of generating.
    Speed,
    /// Calls that failed.
    Failures,
    /// What prompt caches saved.
    Savings,
}

/// How a measure comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is summed over calls; parts make up the whole.
    Sum,
    /// Each call has one; shown are percentiles.
    Spread(Timing),
}

impl Measure {
    /// All, in the order in which they are offered.
    pub const ALL: [Measure; 11] = [
        Self::Spend,
        Self::Completions,
        Self::TokensIn,
        Self::TokensOut,
        Self::Reasoning,
        Self::Cached,
        Self::Latency,
        Self::FirstByte,
        Self::Speed,
        Self::Failures,
        Self::Savings,
    ];

    /// As URLs name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spend => "spend",
            Self::Completions => "completions",
            Self::TokensIn => "tokens_in",
            Self::TokensOut => "tokens_out",
            Self::Reasoning => "tokens_reasoning",
            Self::Cached => "tokens_cached",
            Self::Latency => "latency",
            Self::FirstByte => "first_byte",
            Self::Speed => "speed",
            Self::Failures => "failures",
            Self::Savings => "savings",
        }
    }

    /// Reads [`Measure::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.as_str() == text)
    }

    /// As people name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spend => "Spend",
            Self::Completions => "Completions",
            Self::TokensIn => "Tokens in",
            Self::TokensOut => "Tokens out",
            Self::Reasoning => "Reasoning tokens",
            Self::Cached => "Cached tokens",
            Self::Latency => "Latency",
            Self::FirstByte => "Time to first byte",
            Self::Speed => "Tokens a second",
            Self::Failures => "Failures",
            Self::Savings => "Cache savings",
        }
    }

    /// What stands under the chart beside its steps: `US$`, `native tokens`.
    pub const fn unit_name(self) -> &'static str {
        match self {
            Self::Spend | Self::Savings => "US$",
            Self::Completions => "completions",
            Self::Failures => "failed calls",
            Self::TokensIn => "native prompt tokens",
            Self::TokensOut => "native completion tokens",
            Self::Reasoning => "native reasoning tokens",
            Self::Cached => "native prompt tokens from a cache",
            Self::Latency => "OpenRouter’s own time to the reply",
            Self::FirstByte => "time to the reply’s first byte, measured here",
            Self::Speed => "native completion tokens in a second of generating",
        }
    }

    /// The column of exports that holds it; that of a spread is followed by the percentile.
    pub const fn column(self) -> &'static str {
        match self {
            Self::Spend => "cost_usd",
            Self::Completions => "completions",
            Self::TokensIn => "native_tokens_prompt",
            Self::TokensOut => "native_tokens_completion",
            Self::Reasoning => "native_tokens_reasoning",
            Self::Cached => "native_tokens_cached",
            Self::Latency => "latency_ms",
            Self::FirstByte => "first_byte_ms",
            Self::Speed => "tokens_per_second",
            Self::Failures => "failures",
            Self::Savings => "cache_discount_usd",
        }
    }

    /// How it comes about.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Latency => Kind::Spread(Timing::Latency),
            Self::FirstByte => Kind::Spread(Timing::FirstByte),
            Self::Speed => Kind::Spread(Timing::Speed),
            _ => Kind::Sum,
        }
    }

    /// What its figures are.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Spend | Self::Savings => Unit::Dollars,
            Self::Latency | Self::FirstByte => Unit::Millis,
            Self::Speed => Unit::Speed,
            _ => Unit::Count,
        }
    }

    /// The percentiles that are shown, the usual one first; a slow tail is at the low end of a speed.
    pub const fn percentiles(self) -> [u8; 3] {
        match self {
            Self::Speed => [50, 5, 1],
            _ => [50, 95, 99],
        }
    }

    /// Its figure in sums, in its [`Unit`]; 0 for spreads.
    pub fn of(self, sums: &Sums) -> i128 {
        match self {
            Self::Spend => sums.cost.picos(),
            Self::Completions => sums.completions.into(),
            Self::TokensIn => sums.native_tokens_prompt.into(),
            Self::TokensOut => sums.native_tokens_completion.into(),
            Self::Reasoning => sums.native_tokens_reasoning.into(),
            Self::Cached => sums.native_tokens_cached.into(),
            Self::Failures => sums.failures.into(),
            Self::Savings => sums.cache_discount.picos(),
            Self::Latency | Self::FirstByte | Self::Speed => 0,
        }
    }

    /// A figure as pages write it.
    pub fn written(self, figure: i128) -> String {
        let number = i64::try_from(figure).unwrap_or(if figure < 0 { i64::MIN } else { i64::MAX });
        match self {
            Self::Spend | Self::Savings => format::usd(Total::from_picos(figure)),
            Self::Completions | Self::Failures => format::count(number),
            Self::TokensIn | Self::TokensOut | Self::Reasoning | Self::Cached => format::short_count(number),
            Self::Latency | Self::FirstByte => format::duration(number),
            Self::Speed => format::speed(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_reads_back_and_has_names_of_its_own() {
        for measure in Measure::ALL {
            assert_eq!(Measure::parse(measure.as_str()), Some(measure));
            assert_eq!(matches!(measure.kind(), Kind::Sum), !matches!(measure.unit(), Unit::Millis | Unit::Speed));
        }
        let plain = |measure: Measure, figure| measure.written(figure).replace(format::NBSP, " ");
        assert_eq!(plain(Measure::Spend, 12_300_000_000_000), "$12.30");
        assert_eq!(plain(Measure::TokensIn, 53_149_999), "53.1 M");
        assert_eq!(plain(Measure::Latency, 1_874), "1,874 ms");
        assert_eq!(plain(Measure::Speed, 61_549), "61.5 /s");
    }
}
