//! The policy file: its shape, its problems with line and hint, and the way from bytes to [`crate::domain::policy::Policy`].

mod check;
pub mod duration;
pub mod file;
mod location;
mod problems;
mod read;
pub mod reference;
mod relations;
mod schema;
mod shape;
mod suggest;
mod target;
mod tree;

pub use location::{BearerSource, PolicySource, PolicyUnavailable};
pub use problems::{PolicyProblems, Problem};
pub use read::{SIZE_MAX, read};
pub use schema::json_schema;
pub use suggest::nearest;
