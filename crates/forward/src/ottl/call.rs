//! The functions that a condition may call: those that look at nothing but their arguments and cost little.

use regex::Regex;

use super::parse::Operand;

/// Largest regular expression, compiled.
const MAX_PATTERN: usize = 1 << 20;

/// A function with its arguments, of which there are as many as it wants.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Operand>,
    /// Of `IsMatch`.
    pub(super) pattern: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    IsMatch,
    HasPrefix,
    HasSuffix,
    IsString,
    IsBool,
    IsInt,
    IsDouble,
    IsMap,
    IsList,
    IsRootSpan,
    ContainsValue,
    Concat,
    ConvertCase,
    Double,
    Int,
    Len,
    SpanId,
    String,
    Substring,
    ToLowerCase,
    ToUpperCase,
    TraceId,
    Trim,
}

/// Names, fewest and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 23] = [
    ("IsMatch", Function::IsMatch, 2, 2),
    ("HasPrefix", Function::HasPrefix, 2, 2),
    ("HasSuffix", Function::HasSuffix, 2, 2),
    ("IsString", Function::IsString, 1, 1),
    ("IsBool", Function::IsBool, 1, 1),
    ("IsInt", Function::IsInt, 1, 1),
    ("IsDouble", Function::IsDouble, 1, 1),
    ("IsMap", Function::IsMap, 1, 1),
    ("IsList", Function::IsList, 1, 1),
    ("IsRootSpan", Function::IsRootSpan, 0, 0),
    ("ContainsValue", Function::ContainsValue, 2, 2),
    ("Concat", Function::Concat, 2, 2),
    ("ConvertCase", Function::ConvertCase, 2, 2),
    ("Double", Function::Double, 1, 1),
    ("Int", Function::Int, 1, 1),
    ("Len", Function::Len, 1, 1),
    ("SpanID", Function::SpanId, 1, 1),
    ("String", Function::String, 1, 1),
    ("Substring", Function::Substring, 3, 3),
    ("ToLowerCase", Function::ToLowerCase, 1, 1),
    ("ToUpperCase", Function::ToUpperCase, 1, 1),
    ("TraceID", Function::TraceId, 1, 1),
    ("Trim", Function::Trim, 1, 2),
];

impl Call {
    /// Whether it says true or false.
    pub(super) fn is_test(&self) -> bool {
        use Function::{
            ContainsValue, HasPrefix, HasSuffix, IsBool, IsDouble, IsInt, IsList, IsMap, IsMatch, IsRootSpan,
            IsString,
        };
        matches!(
            self.function,
            IsMatch
                | HasPrefix
                | HasSuffix
                | IsString
                | IsBool
                | IsInt
                | IsDouble
                | IsMap
                | IsList
                | IsRootSpan
                | ContainsValue
        )
    }
}

/// Finds a function; `Err` says which there are.
pub(super) fn resolve(name: &str, arguments: Vec<Operand>) -> Result<Call, String> {
    let Some((_, function, fewest, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        let known: Vec<&str> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
        return Err(format!("the function {name} is not here; there are {}", known.join(", ")));
    };
    if !(*fewest..=*most).contains(&arguments.len()) {
        let wanted = if fewest == most { fewest.to_string() } else { format!("{fewest} or {most}") };
        return Err(format!("{name} takes {wanted} arguments, not {}", arguments.len()));
    }
    let mut pattern = None;
    match (function, arguments.get(1), arguments.first()) {
        (Function::IsMatch, Some(Operand::Text(text)), _) => {
            let built = regex::RegexBuilder::new(text).size_limit(MAX_PATTERN).build();
            pattern = Some(built.map_err(|error| format!("the pattern {text:?} of IsMatch: {error}"))?);
        }
        (Function::IsMatch, ..) => {
            return Err("the pattern of IsMatch is no text; write it as \"…\"".to_owned());
        }
        (Function::ConvertCase, Some(Operand::Text(case)), _)
            if matches!(case.as_str(), "lower" | "upper") => {}
        (Function::ConvertCase, ..) => {
            return Err("ConvertCase converts to \"lower\" or \"upper\" here".to_owned());
        }
        (Function::TraceId | Function::SpanId, _, Some(Operand::Bytes(bytes))) => {
            let wanted = if *function == Function::TraceId { 16 } else { 8 };
            if bytes.len() != wanted {
                return Err(format!("{name} takes {wanted} bytes, not {}", bytes.len()));
            }
        }
        (Function::TraceId | Function::SpanId, ..) => {
            return Err(format!("{name} takes bytes, written 0x…"));
        }
        (Function::Concat, _, first) if !matches!(first, Some(Operand::List(_))) => {
            return Err("Concat takes a list, written [a, b], and a text between them".to_owned());
        }
        _ => {}
    }
    Ok(Call { function: *function, arguments, pattern })
}
