//! Tests of the whole redactor.
