//! A session in a file for people: see [`Html`]. The page's own writing; the door to it for clients.

pub use crate::http::{About, Export as Html};
