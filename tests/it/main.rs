//! One integration binary: behaviour through public doors.

mod sim;
