//! Asking many questions, and the table of what became of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::check::{Endpoints, Verdict, check};
use crate::question::Question;

/// A wrong answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The question's group.
    pub group: String,
    /// The question in one line.
    pub question: String,
    /// How the answer differs.
    pub why: String,
}

/// What became of the questions asked.
#[derive(Debug, Clone)]
pub struct Report {
    /// For each group how many answers were right, and how many questions were asked.
    pub groups: BTreeMap<String, (usize, usize)>,
    /// The wrong answers.
    pub failures: Vec<Failure>,
    /// How many questions were not asked because the server has no such port.
    pub skipped: usize,
    /// How many failures to print.
    pub show: usize,
}

impl Report {
    /// How many answers were right.
    pub fn passed(&self) -> usize {
        self.groups.values().map(|(right, _)| right).sum()
    }

    /// How many questions were asked.
    pub fn asked(&self) -> usize {
        self.groups.values().map(|(_, asked)| asked).sum()
    }
}

/// Asks the questions that the filter lets through, one after the other.
pub fn run(questions: &[Question], filter: impl Fn(&Question) -> bool, at: &Endpoints) -> Report {
    let mut report = Report { groups: BTreeMap::new(), failures: Vec::new(), skipped: 0, show: 20 };
    for question in questions.iter().filter(|question| filter(question)) {
        let verdict = check(question, at);
        if matches!(verdict, Verdict::Skipped(_)) {
            report.skipped += 1;
            continue;
        }
        let (right, asked) = report.groups.entry(question.group.clone()).or_default();
        *asked += 1;
        match verdict {
            Verdict::Fail(why) => {
                let (group, question) = (question.group.clone(), question.label());
                report.failures.push(Failure { group, question, why });
            }
            Verdict::Pass | Verdict::Skipped(_) => *right += 1,
        }
    }
    report
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, (right, asked)) in &self.groups {
            writeln!(f, "{group:15} {right:4} of {asked}")?;
        }
        for Failure { group, question, why } in self.failures.iter().take(self.show) {
            writeln!(f, "\n[{group}] {question}\n    {why}")?;
        }
        if self.skipped > 0 {
            writeln!(f, "\n{} questions skipped", self.skipped)?;
        }
        writeln!(f, "\n{} of {} answers are right", self.passed(), self.asked())
    }
}
