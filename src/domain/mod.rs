//! Pure values and rules of the ledger: no I/O, no clock, no runtime.

pub mod attribution;
pub mod call;
pub mod discreet;
pub mod facts;
pub mod flags;
pub mod ids;
pub mod mac;
pub mod money;
pub mod observation;
pub mod rollup;
pub mod settling;
pub mod table;
pub mod tally_key;
pub mod time;

// What models cost by OpenRouter's own list, and what OpenRouter counted beside us.
pub mod catalogue;
pub mod comparison;
pub mod estimate;
pub mod price;

// Local time, and what stands on it.
pub mod digest;
pub mod routing;
pub mod schedule;
pub mod window;
pub mod zone;

// Budgets and what they say.
pub mod alert;
pub mod budget;
pub mod forecast;
pub mod grant;
pub mod recipient;
pub mod replay;
pub mod scope;
pub mod snooze;
pub mod spike;
