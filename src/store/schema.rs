//! Migrations, and whose database it is.
