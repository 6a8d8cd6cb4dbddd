//! One call's own run of random numbers, drawn from one number of the shared source.

/// `SplitMix64`: small, quick, good enough to make figures look plausible.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// A number in `from..=to`.
    #[expect(clippy::cast_possible_truncation, reason = "the result is at most `to`")]
    pub(super) const fn between(&mut self, from: u32, to: u32) -> u32 {
        from + self.below((to.saturating_sub(from)) as u64 + 1) as u32
    }

    /// True once in `n` times.
    pub(super) const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A fraction in `0.0..1.0`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits of a fraction are what is wanted")]
    pub(super) const fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A factor around 1, log-normal-like: mostly within a half and a double, now and then far above.
    pub(super) fn spread(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.fraction()).sum::<f64>() - 2.0;
        (sum * 1.2).exp()
    }

    /// `typical`, spread.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a dozen times a small positive number; `as` holds it at the ends"
    )]
    pub(super) fn around(&mut self, typical: u32) -> u32 {
        (f64::from(typical) * self.spread()) as u32
    }

    /// Twenty characters as they end a generation ID.
    pub(super) fn push_tail(&mut self, text: &mut String) {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        for _ in 0..2 {
            let mut bits = self.next();
            for _ in 0..10 {
                text.push(char::from(LETTERS[(bits % 62) as usize]));
                bits /= 62;
            }
        }
    }
}
