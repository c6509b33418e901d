//! What happens in the demo's web shop: people look, fill carts and buy; now and then it is slow, or goes wrong.

use super::services::Service::{
    self, Browser, Cart, Catalog, Checkout, Email, Frontend, Inventory, Payment, Shipping,
};
use super::story::{Failure, Outcome, Story};
use crate::otlp::Kind;

const PRODUCTS: [(&str, &str, u64); 8] = [
    ("espresso-machine", "Espresso machine", 34_900),
    ("milk-jug", "Milk jug", 1_950),
    ("grinder", "Burr grinder", 18_900),
    ("kettle", "Gooseneck kettle", 7_900),
    ("beans-house", "House blend, 1 kg", 2_490),
    ("scale", "Scale with timer", 4_500),
    ("cup-set", "Cups, set of six", 3_600),
    ("descaler", "Descaler", 990),
];

/// How a purchase goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purchase {
    Fine,
    Declined,
    SoldOut,
    GatewayTimeout,
    EmailBounces,
    SlowPayment,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    Home { slow: bool },
    Product { missing: bool },
    AddToCart,
    Buy(Purchase),
    Restock,
}

impl Scene {
    /// One of a hundred lots.
    pub(super) fn by_lot(lot: u64) -> Self {
        match lot {
            0..=20 => Self::Home { slow: false },
            21..=23 => Self::Home { slow: true },
            24..=46 => Self::Product { missing: false },
            47..=48 => Self::Product { missing: true },
            49..=65 => Self::AddToCart,
            66..=84 => Self::Buy(Purchase::Fine),
            85..=88 => Self::Buy(Purchase::Declined),
            89 => Self::Buy(Purchase::SoldOut),
            90 => Self::Buy(Purchase::GatewayTimeout),
            91..=92 => Self::Buy(Purchase::EmailBounces),
            93..=95 => Self::Buy(Purchase::SlowPayment),
            _ => Self::Restock,
        }
    }

    /// Tells it, and says in a few words what happened.
    pub(super) fn tell(self, story: &mut Story) -> String {
        let (what, outcome) = match self {
            Self::Home { slow } => (if slow { "slow home page" } else { "home page" }, home(story, slow)),
            Self::Product { missing } => ("product page", product(story, missing)),
            Self::AddToCart => ("add to cart", add_to_cart(story)),
            Self::Buy(how) => (
                match how {
                    Purchase::EmailBounces => "checkout whose confirmation was not sent",
                    Purchase::SlowPayment => "slow checkout",
                    _ => "checkout",
                },
                buy(story, how),
            ),
            Self::Restock => ("restock", restock(story)),
        };
        match outcome {
            Ok(()) => what.to_owned(),
            Err(failure) => format!("failed {what}: {}", failure.message()),
        }
    }
}

/// A page in the browser, and the request that it makes.
fn page(
    story: &mut Story,
    title: &str,
    request: (&str, &str, &str),
    work: impl FnOnce(&mut Story) -> Outcome,
) -> Outcome {
    let user = format!("user-{:04}", story.dice.below(900));
    story.span(Browser, Kind::Internal, title, |story| {
        story.note(|attrs| attrs.text("user.id", &user).text("url.path", request.2));
        story.pass(3_000);
        let outcome = story.http((Browser, Frontend), request, |story| {
            story.note(|attrs| attrs.text("user.id", &user));
            story.pass(1_500);
            work(story)
        });
        story.pass(9_000);
        outcome
    })
}

fn home(story: &mut Story, slow: bool) -> Outcome {
    page(story, "open home page", ("GET", "/api/home", "/api/home"), |story| {
        story.rpc((Frontend, Catalog), "shop.ProductCatalog", "ListProducts", |story| {
            let text = "SELECT id, name, price FROM products WHERE featured ORDER BY rank LIMIT 24";
            story.sql(Catalog, ("SELECT", "products", text), if slow { 1_700_000 } else { 3_000 })?;
            if slow {
                story.note(|attrs| attrs.flag("app.cache.hit", false).text("app.plan", "seq scan"));
            }
            story.sql(
                Catalog,
                ("SELECT", "prices", "SELECT sku, amount FROM prices WHERE sku = ANY($1)"),
                1_200,
            )
        })?;
        story.rpc((Frontend, Cart), "shop.Cart", "GetCart", |story| story.redis(Cart, "HGETALL cart:?"))?;
        story.span(Frontend, Kind::Internal, "render home", |story| {
            story.pass(5_000);
            Ok(())
        })
    })
}

fn look_up(
    story: &mut Story,
    from: Service,
    (sku, name, cents): (&str, &str, u64),
    missing: bool,
) -> Outcome {
    story.rpc((from, Catalog), "shop.ProductCatalog", "GetProduct", |story| {
        story.note(|attrs| attrs.text("app.product.id", sku));
        story.sql(
            Catalog,
            ("SELECT", "products", "SELECT id, name, price FROM products WHERE id = $1"),
            900,
        )?;
        if missing {
            return Err(Failure::new("ProductNotFound", format!("no product {sku}")));
        }
        story.note(|attrs| {
            attrs.text("app.product.name", name).double("app.product.price", cents as f64 / 100.0)
        });
        Ok(())
    })
}

fn stock(story: &mut Story, sku: &str) -> Outcome {
    story.rpc((Frontend, Inventory), "logistics.Inventory", "GetStock", |story| {
        story.note(|attrs| attrs.text("app.product.id", sku));
        story.sql(
            Inventory,
            ("SELECT", "stock", "SELECT warehouse, on_hand FROM stock WHERE sku = $1"),
            1_000,
        )
    })
}

fn product(story: &mut Story, missing: bool) -> Outcome {
    let mut item = story.dice.pick(&PRODUCTS);
    if missing {
        item.0 = "percolator";
    }
    let path = format!("/api/products/{}", item.0);
    page(story, "open product page", ("GET", "/api/products/{id}", &path), |story| {
        look_up(story, Frontend, item, missing)?;
        stock(story, item.0)?;
        story.rpc((Frontend, Catalog), "shop.ProductCatalog", "ListReviews", |story| {
            let text = "SELECT author, stars, body FROM reviews WHERE product_id = $1 LIMIT 10";
            story.sql(Catalog, ("SELECT", "reviews", text), 2_200)
        })?;
        story.span(Frontend, Kind::Internal, "render product", |story| {
            story.pass(4_000);
            Ok(())
        })
    })
}

fn add_to_cart(story: &mut Story) -> Outcome {
    let item = story.dice.pick(&PRODUCTS);
    let quantity = story.dice.between(1, 3);
    page(story, "click add to cart", ("POST", "/api/cart", "/api/cart"), |story| {
        look_up(story, Frontend, item, false)?;
        stock(story, item.0)?;
        story.rpc((Frontend, Cart), "shop.Cart", "AddItem", |story| {
            story.note(|attrs| attrs.text("app.product.id", item.0).int("app.quantity", quantity));
            story.redis(Cart, "HGETALL cart:?")?;
            story.redis(Cart, "HSET cart:? ? ?")?;
            story.redis(Cart, "EXPIRE cart:? 1209600")
        })
    })
}

fn buy(story: &mut Story, how: Purchase) -> Outcome {
    let order = format!("ord-{:08}", 10_000_000 + story.dice.below(80_000_000));
    page(story, "click buy", ("POST", "/api/checkout", "/api/checkout"), |story| {
        story.rpc((Frontend, Checkout), "shop.Checkout", "PlaceOrder", |story| {
            story.note(|attrs| attrs.text("app.order.id", &order));
            place_order(story, how, &order)
        })
    })
}

fn place_order(story: &mut Story, how: Purchase, order: &str) -> Outcome {
    story.rpc((Checkout, Cart), "shop.Cart", "GetCart", |story| story.redis(Cart, "HGETALL cart:?"))?;
    let mut total = 590;
    for _ in 0..story.dice.between(1, 3) {
        let item = story.dice.pick(&PRODUCTS);
        total += item.2;
        look_up(story, Checkout, item, false)?;
    }
    story.note(|attrs| attrs.double("app.order.total", total as f64 / 100.0).text("app.currency", "EUR"));
    story.rpc((Checkout, Inventory), "logistics.Inventory", "Reserve", |story| {
        story.sql(
            Inventory,
            ("SELECT", "stock", "SELECT warehouse, on_hand FROM stock WHERE sku = ANY($1)"),
            1_100,
        )?;
        if how == Purchase::SoldOut {
            return Err(Failure::new("OutOfStock", "grinder is sold out, back in 3 days"));
        }
        let text = "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2";
        story.sql(Inventory, ("UPDATE", "stock", text), 2_600)
    })?;
    story.rpc((Checkout, Payment), "shop.Payment", "Charge", |story| {
        story.note(|attrs| {
            attrs.text("app.order.id", order).double("app.payment.amount", total as f64 / 100.0)
        });
        charge(story, how)
    })?;
    let text = "INSERT INTO orders (id, user_id, total, state) VALUES ($1, $2, $3, $4)";
    story.sql(Checkout, ("INSERT", "orders", text), 2_400)?;
    story.sql(
        Checkout,
        ("INSERT", "order_lines", "INSERT INTO order_lines SELECT * FROM unnest($1, $2)"),
        1_700,
    )?;
    story.kafka((Checkout, Shipping), "orders", |story| {
        story.note(|attrs| attrs.text("app.order.id", order));
        ship(story, how, order)
    });
    story.rpc((Checkout, Cart), "shop.Cart", "EmptyCart", |story| story.redis(Cart, "DEL cart:?"))
}

fn charge(story: &mut Story, how: Purchase) -> Outcome {
    story.span(Payment, Kind::Internal, "check fraud rules", |story| {
        story.note(|attrs| attrs.double("app.fraud.score", 0.12));
        story.pass(2_500);
        Ok(())
    })?;
    story.span(Payment, Kind::Client, "POST", |story| {
        story.note(|attrs| {
            attrs.text("http.request.method", "POST").text("server.address", "api.cards.example");
            attrs.text("url.full", "https://api.cards.example/v1/authorise")
        });
        match how {
            Purchase::Declined => {
                story.pass(90_000);
                story.note(|attrs| attrs.int("http.response.status_code", 402));
                Err(Failure::new("PaymentDeclined", "card declined by issuer: insufficient funds"))
            }
            Purchase::GatewayTimeout => {
                story.wait(3_000);
                Err(Failure::new("DeadlineExceeded", "api.cards.example did not answer within 3 s"))
            }
            _ => {
                story.pass(if how == Purchase::SlowPayment { 2_100_000 } else { 90_000 });
                story.note(|attrs| attrs.int("http.response.status_code", 200));
                Ok(())
            }
        }
    })?;
    story.sql(
        Payment,
        ("INSERT", "charges", "INSERT INTO charges (id, order_id, amount) VALUES ($1, $2, $3)"),
        2_100,
    )
}

fn ship(story: &mut Story, how: Purchase, order: &str) -> Outcome {
    story.span(Shipping, Kind::Internal, "choose carrier", |story| {
        let carrier = story.dice.pick(&["DHL", "UPS", "GLS"]);
        story.note(|attrs| attrs.text("app.carrier", carrier));
        story.pass(1_200);
        Ok(())
    })?;
    let text = "INSERT INTO parcels (id, order_id, carrier) VALUES ($1, $2, $3)";
    story.sql(Shipping, ("INSERT", "parcels", text), 1_900)?;
    // An order ships whether or not its mail arrives.
    let mail = story.http((Shipping, Email), ("POST", "/send", "/send"), |story| {
        story.note(|attrs| attrs.text("app.order.id", order).text("app.email.template", "order-shipped"));
        story.span(Email, Kind::Internal, "render template", |story| {
            story.pass(3_000);
            Ok(())
        })?;
        story.pass(12_000);
        if how == Purchase::EmailBounces {
            return Err(Failure::new("Net::SMTPFatalError", "550 mailbox unavailable"));
        }
        Ok(())
    });
    let _ = mail;
    Ok(())
}

fn restock(story: &mut Story) -> Outcome {
    story.span(Inventory, Kind::Internal, "restock", |story| {
        for _ in 0..story.dice.between(2, 5) {
            let text = "UPDATE stock SET on_hand = on_hand + $1 WHERE sku = $2";
            story.sql(Inventory, ("UPDATE", "stock", text), 2_000)?;
        }
        story.kafka((Inventory, Catalog), "stock-levels", |story| {
            story.sql(
                Catalog,
                ("UPDATE", "products", "UPDATE products SET available = $1 WHERE sku = $2"),
                1_800,
            )
        });
        Ok(())
    })
}
