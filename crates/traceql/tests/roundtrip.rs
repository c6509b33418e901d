//! Printing a tree and parsing the text gives the tree back, for random trees of every shape that the parser builds.
// Helpers of tests are tests; the lint does not see that in this directory.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use trackway_traceql::ast::*;
use trackway_traceql::{parse_metrics_unchecked, parse_unchecked};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z.:/_+-]{1,8}",
        "[0-9][a-z]{0,3}",
        "\\PC{0,6}",
        Just("span.x".to_owned()),
        Just("resource.".to_owned()),
        Just("parent".to_owned()),
        Just("a\"b\\c d".to_owned()),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    prop::sample::select(vec![
        Scope::None,
        Scope::Span,
        Scope::Resource,
        Scope::Event,
        Scope::Link,
        Scope::Instrumentation,
    ])
}

fn intrinsic() -> impl Strategy<Value = Field> {
    use Intrinsic as I;
    let all = vec![
        I::Duration,
        I::Name,
        I::Status,
        I::StatusMessage,
        I::Kind,
        I::SpanId,
        I::ParentId,
        I::ChildCount,
        I::TraceRootName,
        I::TraceRootService,
        I::TraceDuration,
        I::TraceId,
        I::NestedSetLeft,
        I::NestedSetRight,
        I::NestedSetParent,
        I::EventName,
        I::EventTimeSinceStart,
        I::LinkTraceId,
        I::LinkSpanId,
        I::InstrumentationName,
        I::InstrumentationVersion,
        I::Parent,
    ];
    (prop::sample::select(all), any::<bool>()).prop_map(|(intrinsic, scoped)| {
        // Where there is one spelling only, that says whether it is scoped.
        let scoped = intrinsic.scoped_name().is_some() && (scoped || intrinsic.old_name().is_none());
        Field::Intrinsic { intrinsic, scoped }
    })
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        (scope(), name()).prop_map(|(scope, name)| Field::Attribute { scope, name }),
        (prop::sample::select(vec![Scope::None, Scope::Span, Scope::Resource]), name())
            .prop_map(|(scope, name)| Field::Parent { scope, name }),
        intrinsic(),
    ]
}

fn number() -> impl Strategy<Value = Static> {
    prop_oneof![
        (0..=i64::MAX).prop_map(Static::Int),
        (0..=i64::MAX).prop_map(Static::Duration),
        (0..5_000_000_000_i64).prop_map(Static::Duration),
        (0.0..f64::MAX).prop_map(Static::Float),
        (0.0..1.0).prop_map(Static::Float),
        Just(Static::Int(i64::MIN)),
    ]
}

fn literal() -> impl Strategy<Value = Static> {
    prop_oneof![
        number(),
        Just(Static::Nil),
        any::<bool>().prop_map(Static::Bool),
        any::<String>().prop_map(Static::String),
        "[a`\"\\\\\r\n\t\u{0}\u{7f}é]{0,6}".prop_map(Static::String),
        prop::sample::select(vec![Status::Ok, Status::Error, Status::Unset]).prop_map(Static::Status),
        prop::sample::select(vec![
            Kind::Unspecified,
            Kind::Internal,
            Kind::Server,
            Kind::Client,
            Kind::Producer,
            Kind::Consumer
        ])
        .prop_map(Static::Kind),
    ]
}

fn comparison() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp as O;
    prop::sample::select(vec![O::Eq, O::NotEq, O::Less, O::LessEq, O::Greater, O::GreaterEq])
}

fn arithmetic() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp as O;
    prop::sample::select(vec![O::Add, O::Sub, O::Mul, O::Div, O::Mod, O::Pow])
}

fn field_expr() -> impl Strategy<Value = FieldExpr> {
    use BinaryOp as O;
    let leaf = prop_oneof![literal().prop_map(FieldExpr::Static), field().prop_map(FieldExpr::Field)];
    let logic = prop::sample::select(vec![O::And, O::Or, O::Regex, O::NotRegex]);
    let op = prop_oneof![comparison(), arithmetic(), logic];
    leaf.prop_recursive(5, 24, 2, move |inner| {
        prop_oneof![
            3 => (op.clone(), inner.clone(), inner.clone())
                .prop_map(|(op, lhs, rhs)| FieldExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) }),
            1 => (any::<bool>(), inner).prop_map(|(not, expr)| FieldExpr::Unary {
                op: if not { UnaryOp::Not } else { UnaryOp::Neg },
                expr: Box::new(expr)
            }),
        ]
    })
}

fn spanset_op() -> impl Strategy<Value = SpansetOp> {
    let mut all = vec![SpansetOp::And, SpansetOp::Or];
    for relation in
        [Relation::Child, Relation::Parent, Relation::Descendant, Relation::Ancestor, Relation::Sibling]
    {
        for form in [RelationForm::Plain, RelationForm::Negated, RelationForm::Union] {
            all.push(SpansetOp::Relation { relation, form });
        }
    }
    prop::sample::select(all)
}

fn spanset() -> impl Strategy<Value = SpansetExpr> {
    prop::option::weighted(0.8, field_expr()).prop_map(SpansetExpr::Filter).prop_recursive(3, 6, 2, |inner| {
        (spanset_op(), inner.clone(), inner).prop_map(|(op, lhs, rhs)| SpansetExpr::Operation {
            op,
            lhs: Box::new(lhs),
            rhs: Box::new(rhs),
        })
    })
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    prop_oneof![
        Just(Aggregate::Count),
        field_expr().prop_map(Aggregate::Min),
        field_expr().prop_map(Aggregate::Max),
        field_expr().prop_map(Aggregate::Avg),
        field_expr().prop_map(Aggregate::Sum),
    ]
}

fn scalar_static() -> impl Strategy<Value = Static> {
    (number(), any::<bool>()).prop_map(|(value, negative)| match value {
        Static::Int(value) if negative => Static::Int(value.wrapping_neg()),
        Static::Float(value) if negative => Static::Float(-value),
        Static::Duration(value) if negative => Static::Duration(-value),
        value => value,
    })
}

fn scalar() -> impl Strategy<Value = ScalarExpr> {
    prop_oneof![aggregate().prop_map(ScalarExpr::Aggregate), scalar_static().prop_map(ScalarExpr::Static)]
        .prop_recursive(3, 6, 2, scalar_operation)
}

fn scalar_operation(inner: BoxedStrategy<ScalarExpr>) -> impl Strategy<Value = ScalarExpr> {
    (arithmetic(), inner.clone(), inner).prop_map(|(op, lhs, rhs)| ScalarExpr::Binary {
        op,
        lhs: Box::new(lhs),
        rhs: Box::new(rhs),
    })
}

fn scalar_filter() -> impl Strategy<Value = ScalarFilter> {
    (comparison(), scalar(), scalar()).prop_map(|(op, lhs, rhs)| ScalarFilter { op, lhs, rhs })
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        spanset().prop_map(Stage::Spanset),
        scalar_filter().prop_map(Stage::ScalarFilter),
        field_expr().prop_map(Stage::By),
        Just(Stage::Coalesce),
        prop::collection::vec(field(), 1..4).prop_map(Stage::Select),
    ]
}

fn pipeline() -> impl Strategy<Value = Pipeline> {
    prop::collection::vec(stage(), 1..4).prop_map(|mut stages| {
        if stages[0] == Stage::Coalesce {
            stages[0] = Stage::Spanset(SpansetExpr::Filter(None));
        }
        Pipeline { stages }
    })
}

/// A pipeline that can only be one: in parentheses, a lone spanset stays a spanset, unless a pipeline is beside it.
fn real_pipeline() -> impl Strategy<Value = PipelineExpr> {
    pipeline().prop_map(|mut pipeline| {
        if let [Stage::Spanset(_)] = pipeline.stages.as_slice() {
            pipeline.stages.push(Stage::Coalesce);
        }
        PipelineExpr::Pipeline(pipeline)
    })
}

fn pipeline_expr() -> impl Strategy<Value = PipelineExpr> {
    real_pipeline().prop_recursive(3, 6, 2, |inner| {
        let lone = spanset()
            .prop_map(|spanset| PipelineExpr::Pipeline(Pipeline { stages: vec![Stage::Spanset(spanset)] }));
        (spanset_op(), inner.clone(), prop_oneof![inner.boxed(), lone.boxed()], any::<bool>()).prop_map(
            |(op, lhs, rhs, swap)| {
                let (lhs, rhs) = if swap { (rhs, lhs) } else { (lhs, rhs) };
                PipelineExpr::Operation { op, lhs: Box::new(lhs), rhs: Box::new(rhs) }
            },
        )
    })
}

fn scalar_pipeline() -> impl Strategy<Value = ScalarExpr> {
    (pipeline(), aggregate())
        .prop_map(|(pipeline, aggregate)| ScalarExpr::Pipeline { pipeline, aggregate })
        .prop_recursive(2, 4, 2, scalar_operation)
}

fn scalar_pipeline_filter() -> impl Strategy<Value = ScalarPipelineFilter> {
    let rhs = prop_oneof![scalar_pipeline(), scalar_static().prop_map(ScalarExpr::Static)];
    (comparison(), scalar_pipeline(), rhs).prop_map(|(op, lhs, rhs)| ScalarPipelineFilter { op, lhs, rhs })
}

fn second_stage() -> impl Strategy<Value = SecondStage> {
    prop_oneof![
        (0..=i64::MAX).prop_map(SecondStage::TopK),
        (0..=i64::MAX).prop_map(SecondStage::BottomK),
        (comparison(), scalar_static()).prop_map(|(op, value)| SecondStage::Filter { op, value }),
    ]
}

fn metrics() -> impl Strategy<Value = MetricsPipeline> {
    use MetricsAggregate as M;
    let compare = (
        prop::option::of(field_expr()),
        prop::option::of((0..=i64::MAX, prop::option::of((0..=i64::MAX, 0..=i64::MAX)))),
    )
        .prop_map(|(selection, rest)| M::Compare {
            selection,
            top_n: rest.map(|(n, _)| n),
            range: rest.and_then(|(_, range)| range),
        });
    let aggregate = prop_oneof![
        Just(M::Rate),
        Just(M::CountOverTime),
        field().prop_map(M::MinOverTime),
        field().prop_map(M::MaxOverTime),
        field().prop_map(M::SumOverTime),
        field().prop_map(M::AvgOverTime),
        (field(), prop::collection::vec(0.0..2.0, 1..4)).prop_map(|(f, q)| M::QuantileOverTime(f, q)),
        field().prop_map(M::HistogramOverTime),
        compare,
    ];
    (aggregate, prop::collection::vec(field(), 0..3), prop::collection::vec(second_stage(), 0..3)).prop_map(
        |(aggregate, mut by, second_stages)| {
            if matches!(aggregate, M::Compare { .. }) {
                by.clear();
            }
            MetricsPipeline { aggregate, by, second_stages }
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    let body = prop_oneof![
        4 => (pipeline().prop_map(Root::Pipeline), prop::option::of(metrics())).boxed(),
        2 => (pipeline_expr().prop_map(Root::PipelineExpr), Just(None)).boxed(),
        1 => (scalar_pipeline_filter().prop_map(Root::ScalarPipelineFilter), Just(None)).boxed(),
    ];
    let hint = ("x_[a-z]{1,5}", literal()).prop_map(|(name, value)| Hint { name, value });
    (body, prop::collection::vec(hint, 0..3)).prop_map(|((root, metrics), hints)| Query {
        root,
        metrics,
        hints,
    })
}

/// Arithmetic: operations with a metrics query in them somewhere.
fn series_query() -> impl Strategy<Value = SeriesQuery> {
    let query = (pipeline().prop_map(Root::Pipeline), metrics()).prop_map(|(root, metrics)| {
        MetricsExpr::Query(Box::new(Query { root, metrics: Some(metrics), hints: Vec::new() }))
    });
    let query = query.boxed();
    let leaf = prop_oneof![query.clone(), number().prop_map(MetricsExpr::Number)];
    let expr = leaf.prop_recursive(4, 8, 2, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|inner| MetricsExpr::Negate(Box::new(inner))),
            4 => (arithmetic(), inner.clone(), inner).prop_map(|(op, lhs, rhs)| MetricsExpr::Binary {
                op,
                lhs: Box::new(lhs),
                rhs: Box::new(rhs),
            }),
        ]
    });
    let expr = (arithmetic(), expr, query, any::<bool>()).prop_map(|(op, any, query, swap)| {
        let (lhs, rhs) = if swap { (any, query) } else { (query, any) };
        MetricsExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) }
    });
    let hint = ("x_[a-z]{1,5}", literal()).prop_map(|(name, value)| Hint { name, value });
    let stages = prop::collection::vec(second_stage(), 0..3);
    (expr, stages, prop::collection::vec(hint, 0..3)).prop_map(|(expr, second_stages, hints)| SeriesQuery {
        expr,
        second_stages,
        hints,
    })
}

/// On a stack of its own: the strategies above make deep calls.
fn thousand_cases<S>(strategy: fn() -> S, holds: fn(S::Value) -> Result<(), TestCaseError>)
where
    S: Strategy + 'static,
{
    let work = move || {
        let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
        let outcome = TestRunner::new(config).run(&strategy(), holds);
        outcome.unwrap_or_else(|error| panic!("{error}"));
    };
    std::thread::Builder::new().stack_size(256 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn print_then_parse() {
    thousand_cases(query, |query| {
        let text = query.to_string();
        prop_assert_eq!(parse_metrics_unchecked(&text), Ok(SeriesQuery::from(query.clone())), "{}", text);
        prop_assert_eq!(parse_unchecked(&text), Ok(query), "{}", text);
        Ok(())
    });
}

#[test]
fn print_then_parse_arithmetic() {
    thousand_cases(series_query, |query| {
        let text = query.to_string();
        prop_assert_eq!(parse_metrics_unchecked(&text), Ok(query), "{}", text);
        Ok(())
    });
}
