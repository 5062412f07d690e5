//! The function app's zip: its bytes, what is refused, and that it starts; and the step that sends markers.

mod archive;
mod binary;
mod command;
mod contents;
pub mod elf;
mod marker;
mod sbom;
mod unpacked;
mod workflows;
