//! Units of the language.
