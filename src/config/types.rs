//! Value types that several keys have.

use super::key::{Shape, Type};
use super::role::TextFile;
use crate::base::{Duration, Secret};
use std::path::PathBuf;

/// A string.
pub const TEXT: Type<String> = Type::Read(Shape::Text, |item| item.string().map(str::to_owned));
/// A string, or an array of strings.
pub const TEXTS: Type<Vec<String>> = Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.strings()));
/// `true` or `false`.
pub const FLAG: Type<bool> = Type::Read(Shape::Flag, |item| item.boolean());
/// An integer, at least 0.
pub const INTEGER: Type<u32> = Type::Read(Shape::Integer(0), |item| item.integer());
/// An integer, at least 1.
pub const COUNT: Type<usize> = Type::Read(Shape::Integer(1), |item| item.count());
/// A duration such as `"90s"`.
pub const DURATION: Type<Duration> = Type::Read(Shape::Duration, |item| item.duration());
/// The path of an input file, which is watched for changes.
pub const INPUT_FILE: Type<PathBuf> = Type::Read(Shape::Path, |item| item.path());
/// The path of an output file or folder, relative to the configuration's folder.
pub const OUTPUT_PATH: Type<PathBuf> = Type::Read(Shape::Text, |item| item.output_path());
/// A text file whose content is part of the configuration.
pub const TEXT_FILE: Type<TextFile> = Type::Read(Shape::Path, TextFile::read);
/// A secret: the string itself, `{ env = "NAME" }` or `{ file = "path" }`.
pub const SECRET: Type<Secret> = Type::Read(Shape::Secret, |item| item.secret());
