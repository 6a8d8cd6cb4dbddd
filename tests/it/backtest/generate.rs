//! Invented spend by the hour, in two families that share no shape: rules are tuned on one and judged on the other.

use std::f64::consts::PI;

/// Days of each series.
pub const DAYS: usize = 150;

/// What a series does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    Weekly,
    Steps,
    Bursts,
    Growth,
    Quiet,
    Young,
}

impl Pattern {
    pub const ALL: [Self; 6] = [Self::Weekly, Self::Steps, Self::Bursts, Self::Growth, Self::Quiet, Self::Young];
}

/// Which family of generators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The one that rules are tuned on.
    Tuned,
    /// The one they are judged by.
    Held,
}

/// A fixed sequence of draws (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn part(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    pub fn bell(&mut self) -> f64 {
        (-2.0 * (1.0 - self.part()).ln()).sqrt() * (2.0 * PI * self.part()).cos()
    }

    fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }

    fn bell_times(&mut self, spread: f64) -> f64 {
        (spread * self.bell() - spread * spread / 2.0).exp()
    }
}

/// Spend of each hour, in dollars, from a Monday's midnight on.
pub fn series(family: Family, pattern: Pattern, seed: u64) -> Vec<f64> {
    let mut dice = Dice::new(seed * 7 + pattern as u64 + if family == Family::Tuned { 1_000_003 } else { 77_777_777 });
    for _ in 0..16 {
        dice.part();
    }
    match family {
        Family::Tuned => tuned(pattern, &mut dice),
        Family::Held => held(pattern, &mut dice),
    }
}

/// Office hours, log-normal days and hours, sudden steps, short bursts, steady growth, single calls.
fn tuned(pattern: Pattern, dice: &mut Dice) -> Vec<f64> {
    if pattern == Pattern::Quiet {
        return single_calls(dice);
    }
    let base = 10_f64.powf(dice.between(-1.0, 2.0));
    let peak = dice.between(11.0, 15.0);
    let width = dice.between(2.5, 5.0);
    let weekend = dice.between(0.05, 0.6);
    let night = dice.between(0.01, 0.3);
    let (of_day, of_hour) = (dice.between(0.1, 0.35), dice.between(0.2, 0.6));
    let clings = dice.between(0.0, 0.5);
    let growth = if pattern == Pattern::Growth { dice.between(0.004, 0.022) } else { 0.0 };
    let mut mood = 0.0;
    let mut level = 1.0;
    let mut next_step = dice.wait(25.0);
    let mut hours = Vec::with_capacity(DAYS * 24);
    for day in 0..DAYS {
        mood = clings * mood + (1.0 - clings * clings).sqrt() * of_day * dice.bell();
        if pattern == Pattern::Steps && day as f64 >= next_step {
            let size = dice.between(0.35, 1.0).exp();
            level *= if level > 2.5 || (level > 0.4 && dice.part() < 0.5) { 1.0 / size } else { size };
            next_step = day as f64 + 4.0 + dice.wait(25.0);
        }
        let today =
            base * level * (1.0 + growth).powi(day as i32) * mood.exp() * if day % 7 >= 5 { weekend } else { 1.0 };
        for hour in 0..24 {
            let near = (f64::from(hour) - peak) / width;
            hours.push(today * (night + (-near * near / 2.0).exp()) * dice.bell_times(of_hour));
        }
    }
    if pattern == Pattern::Bursts {
        let every = dice.between(4.0, 12.0);
        let mean = hours.iter().sum::<f64>() / DAYS as f64;
        let mut at = dice.wait(every);
        while at < DAYS as f64 {
            let long = 1 + dice.between(1.0, 8.0) as usize;
            let cost = mean * dice.between(0.7, 4.0);
            for place in 0..long {
                if let Some(hour) = hours.get_mut((at * 24.0) as usize + place) {
                    *hour += cost / long as f64;
                }
            }
            at += dice.wait(every);
        }
    }
    hours
}

/// A few calls a day at any time, of very different cost.
fn single_calls(dice: &mut Dice) -> Vec<f64> {
    let calls = dice.between(0.7, 6.0);
    let cost = 10_f64.powf(dice.between(-2.0, 1.0));
    let spread = dice.between(0.5, 1.2);
    let workdays = dice.part() < 0.5;
    let mut hours = vec![0.0; DAYS * 24];
    let mut at = dice.wait(1.0 / calls);
    while at < DAYS as f64 {
        if !workdays || (at as usize) % 7 < 5 {
            hours[(at * 24.0) as usize] += cost * dice.bell_times(spread);
        }
        at += dice.wait(1.0 / calls);
    }
    hours
}

/// Two humps and a nightly job, gamma days, ramps that may go back, whole days of bursts, growth in a line or in waves,
/// sessions on some days.
fn held(pattern: Pattern, dice: &mut Dice) -> Vec<f64> {
    if pattern == Pattern::Quiet {
        return sessions(dice);
    }
    let base = 10_f64.powf(dice.between(-0.5, 1.5));
    let humps = [(dice.between(7.0, 11.0), dice.between(0.3, 1.0)), (dice.between(17.0, 22.0), dice.between(0.5, 1.5))];
    let job = dice.between(0.0, 2.0);
    let week: Vec<f64> =
        (0..7).map(|day| if day >= 4 { dice.between(0.7, 1.9) } else { dice.between(0.7, 1.2) }).collect();
    let (days_like, hours_like) = (dice.between(10.0, 60.0), dice.between(2.0, 12.0));
    let slope = if pattern == Pattern::Growth { dice.between(0.01, 0.045) } else { 0.0 };
    let waves = dice.part() < 0.4;
    let mut level: f64 = 1.0;
    let mut goal: f64 = 1.0;
    let mut next_step = dice.wait(30.0);
    let mut hours = Vec::with_capacity(DAYS * 24);
    for day in 0..DAYS {
        if pattern == Pattern::Steps {
            if day as f64 >= next_step {
                goal = if goal == 1.0 {
                    if dice.part() < 0.6 { dice.between(1.3, 2.4) } else { dice.between(0.4, 0.75) }
                } else {
                    1.0
                };
                next_step = day as f64 + 5.0 + dice.wait(28.0);
            }
            level += (goal - level) * 0.6;
        }
        let wave = if waves && slope > 0.0 { 1.0 + 0.08 * (day as f64 / 9.0).sin() } else { 1.0 };
        let today = base * level * (1.0 + slope * day as f64) * wave * week[day % 7] * gamma(days_like, dice);
        for hour in 0..24 {
            let of_humps: f64 =
                humps.iter().map(|(at, high)| high / (1.0 + ((f64::from(hour) - at) / 2.0).powi(2))).sum();
            let of_job = if hour == 3 { job } else { 0.0 };
            hours.push(today * ((of_humps + 0.05) * gamma(hours_like, dice) + of_job));
        }
    }
    if pattern == Pattern::Bursts {
        let chance = dice.between(0.06, 0.2);
        for day in 0..DAYS {
            if dice.part() < chance {
                let times = (1.0 / (1.0 - dice.part() * 0.95)).sqrt() * dice.between(0.5, 1.5);
                for hour in &mut hours[day * 24..(day + 1) * 24] {
                    *hour *= 1.0 + times;
                }
            }
        }
    }
    hours
}

/// Work on some days, for some hours.
fn sessions(dice: &mut Dice) -> Vec<f64> {
    let chance = dice.between(0.25, 0.8);
    let cost = 10_f64.powf(dice.between(-2.0, 0.5));
    let mut hours = vec![0.0; DAYS * 24];
    for day in 0..DAYS {
        if dice.part() < chance {
            let from = dice.between(8.0, 18.0) as usize;
            let long = 1 + dice.between(0.0, 5.0) as usize;
            for hour in from..(from + long).min(24) {
                hours[day * 24 + hour] += cost * gamma(1.5, dice);
            }
        }
    }
    hours
}

/// A gamma draw with a mean of 1 (Marsaglia and Tsang's way).
fn gamma(shape: f64, dice: &mut Dice) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = dice.bell();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - dice.part()).ln() < x * x / 2.0 + d - d * v + d * v.ln() {
            return d * v / shape;
        }
    }
}
