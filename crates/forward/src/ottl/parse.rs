//! From words to a tree, with every name checked.

use super::call::{self, Call};
use super::lex::{Token, words};
use super::path::{self, Path};
use super::{About, MAX_DEPTH, OttlError};

/// Something that is true or false.
#[derive(Debug)]
pub(super) enum Expr {
    Or(Vec<Self>),
    And(Vec<Self>),
    Not(Box<Self>),
    Const(bool),
    /// A function that says true or false.
    Test(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Plus,
    Minus,
    Times,
    Divided,
}

/// What has a value.
#[derive(Debug)]
pub(super) enum Operand {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Path(Path),
    Call(Box<Call>),
    Sum(Box<Self>, Sum, Box<Self>),
}

/// What stands in brackets behind a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Name(String),
    Place(usize),
}

/// Constants that stand for numbers.
const CONSTANTS: [(&str, i64); 9] = [
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
];

pub(super) fn parse(text: &str, about: About) -> Result<Expr, OttlError> {
    let mut parser = Parser { words: words(text)?, at: 0, end: text.len(), depth: 0, about };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) => {
            let message = format!("{} is not expected; combine conditions with and, or", shown(token));
            Err(parser.error(message))
        }
    }
}

struct Parser {
    words: Vec<(usize, Token)>,
    at: usize,
    end: usize,
    depth: usize,
    about: About,
}

fn shown(token: &Token) -> String {
    match token {
        Token::Name(name) => name.clone(),
        Token::Text(text) => format!("{text:?}"),
        Token::Int(number) => number.to_string(),
        Token::Float(number) => number.to_string(),
        Token::Bytes(_) => "a literal of bytes".to_owned(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.words.get(self.at).map(|(_, token)| token)
    }

    fn place(&self) -> usize {
        self.words.get(self.at).map_or(self.end, |(at, _)| *at)
    }

    fn error(&self, message: impl Into<String>) -> OttlError {
        OttlError { at: self.place(), message: message.into() }
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(found)) if found == name);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), OttlError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.error(format!("{sign} is missing"))) }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, OttlError>) -> Result<T, OttlError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} levels; write several conditions")));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn or(&mut self) -> Result<Expr, OttlError> {
        let mut all = vec![self.and()?];
        while self.take_name("or") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Result<Expr, OttlError> {
        let mut all = vec![self.not()?];
        while self.take_name("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Result<Expr, OttlError> {
        if self.take_name("not") {
            return Ok(Expr::Not(Box::new(self.deeper(Self::not)?)));
        }
        if matches!(self.peek(), Some(Token::Sign("("))) && !self.is_value_in_parentheses() {
            self.at += 1;
            let inner = self.deeper(Self::or)?;
            self.expect(")")?;
            return Ok(inner);
        }
        self.comparison()
    }

    /// Whether the parenthesis here is one of arithmetic: what follows its end compares or calculates.
    fn is_value_in_parentheses(&self) -> bool {
        let mut open = 0_usize;
        for (place, (_, token)) in self.words.iter().enumerate().skip(self.at) {
            match token {
                Token::Sign("(") => open += 1,
                Token::Sign(")") => open -= 1,
                _ => {}
            }
            if open == 0 {
                let next = self.words.get(place + 1).map(|(_, token)| token);
                let signs = ["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/"];
                return matches!(next, Some(Token::Sign(sign)) if signs.contains(sign));
            }
        }
        false
    }

    fn comparison(&mut self) -> Result<Expr, OttlError> {
        let left = self.sum()?;
        let comparison = match self.peek() {
            Some(Token::Sign("==")) => Comparison::Equal,
            Some(Token::Sign("!=")) => Comparison::NotEqual,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::LessOrEqual,
            Some(Token::Sign(">")) => Comparison::Greater,
            Some(Token::Sign(">=")) => Comparison::GreaterOrEqual,
            _ => {
                return match left {
                    Operand::Bool(value) => Ok(Expr::Const(value)),
                    Operand::Call(ref call) if call.is_test() => Ok(Expr::Test(left)),
                    _ => Err(self.error("a comparison is missing; write ==, !=, <, <=, > or >= and a value")),
                };
            }
        };
        self.at += 1;
        Ok(Expr::Compare(left, comparison, self.sum()?))
    }

    fn sum(&mut self) -> Result<Operand, OttlError> {
        let mut left = self.product()?;
        loop {
            let sum = match self.peek() {
                Some(Token::Sign("+")) => Sum::Plus,
                Some(Token::Sign("-")) => Sum::Minus,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Operand::Sum(Box::new(left), sum, Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Operand, OttlError> {
        let mut left = self.operand()?;
        loop {
            let sum = match self.peek() {
                Some(Token::Sign("*")) => Sum::Times,
                Some(Token::Sign("/")) => Sum::Divided,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Operand::Sum(Box::new(left), sum, Box::new(self.operand()?));
        }
    }

    fn operand(&mut self) -> Result<Operand, OttlError> {
        if self.take_sign("(") {
            let inner = self.deeper(Self::sum)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take_sign("[") {
            return self.deeper(|parser| parser.operands("]")).map(Operand::List);
        }
        if self.take_sign("-") {
            let at = self.place();
            return match self.deeper(Self::operand)? {
                Operand::Int(number) => Ok(Operand::Int(-number)),
                Operand::Float(number) => Ok(Operand::Float(-number)),
                _ => Err(OttlError { at, message: "only a number can be negative".to_owned() }),
            };
        }
        let at = self.place();
        let Some(token) = self.peek().cloned() else {
            return Err(self.error("a value is missing"));
        };
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Operand::Text(text)),
            Token::Int(number) => Ok(Operand::Int(number)),
            Token::Float(number) => Ok(Operand::Float(number)),
            Token::Bytes(bytes) => Ok(Operand::Bytes(bytes)),
            Token::Name(name) => self.named(at, name),
            Token::Sign(sign) => Err(OttlError { at, message: format!("{sign} is not expected") }),
        }
    }

    fn operands(&mut self, end: &str) -> Result<Vec<Operand>, OttlError> {
        let mut all = Vec::new();
        if self.take_sign(end) {
            return Ok(all);
        }
        loop {
            all.push(self.sum()?);
            if self.take_sign(end) {
                return Ok(all);
            }
            self.expect(",")?;
        }
    }

    fn named(&mut self, at: usize, name: String) -> Result<Operand, OttlError> {
        match name.as_str() {
            "true" => return Ok(Operand::Bool(true)),
            "false" => return Ok(Operand::Bool(false)),
            "nil" => return Ok(Operand::Nil),
            _ => {}
        }
        if let Some((_, number)) = CONSTANTS.iter().find(|(constant, _)| *constant == name) {
            return Ok(Operand::Int(*number));
        }
        let is_call = name.starts_with(|c: char| c.is_ascii_uppercase());
        if is_call && self.take_sign("(") {
            let arguments = self.deeper(|parser| parser.operands(")"))?;
            if matches!(self.peek(), Some(Token::Sign("["))) {
                return Err(self.error("what a function gives cannot be looked into here"));
            }
            let call = call::resolve(&name, arguments).map_err(|message| OttlError { at, message })?;
            return Ok(Operand::Call(Box::new(call)));
        }
        let mut steps = vec![(name, self.keys()?)];
        while self.take_sign(".") {
            match self.peek().cloned() {
                Some(Token::Name(step)) => {
                    self.at += 1;
                    steps.push((step, self.keys()?));
                }
                _ => return Err(self.error("a name is missing after the dot")),
            }
        }
        path::resolve(&steps, self.about).map(Operand::Path).map_err(|message| OttlError { at, message })
    }

    fn keys(&mut self) -> Result<Vec<Key>, OttlError> {
        let mut keys = Vec::new();
        while self.take_sign("[") {
            keys.push(match self.peek().cloned() {
                Some(Token::Text(name)) => Key::Name(name),
                Some(Token::Int(place)) => {
                    Key::Place(usize::try_from(place).map_err(|_| self.error("the place is too large"))?)
                }
                _ => return Err(self.error("a text or a place is missing in the brackets")),
            });
            self.at += 1;
            self.expect("]")?;
        }
        Ok(keys)
    }
}
