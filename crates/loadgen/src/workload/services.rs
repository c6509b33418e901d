//! The fifteen services of the benchmark, and what each says about itself.

/// A service that sends spans.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) language: &'static str,
    pub(crate) sdk: &'static str,
    pub(crate) version: &'static str,
    pub(crate) pods: u8,
    /// How fine its clock is, in nanoseconds.
    pub(crate) tick: u64,
}

const fn service(
    name: &'static str,
    namespace: &'static str,
    (language, sdk, tick): (&'static str, &'static str, u64),
    version: &'static str,
    pods: u8,
) -> Service {
    Service { name, namespace, language, sdk, version, pods, tick }
}

const GO: (&str, &str, u64) = ("go", "1.38.0", 1);
const JAVA: (&str, &str, u64) = ("java", "1.54.1", 1);
const NODE: (&str, &str, u64) = ("nodejs", "2.1.0", 1_000);
const PYTHON: (&str, &str, u64) = ("python", "1.41.0", 1);
const DOTNET: (&str, &str, u64) = ("dotnet", "1.12.0", 100);

/// Every service; operations name them by their place here.
pub(crate) static SERVICES: [Service; 15] = [
    service("web-gateway", "edge", GO, "3.14.2", 3),
    service("storefront", "shop", NODE, "2025.10.3", 3),
    service("checkout", "shop", PYTHON, "1.22.0", 2),
    service("cart", "shop", DOTNET, "4.1.9", 2),
    service("product-catalog", "shop", GO, "7.0.1", 2),
    service("pricing", "shop", JAVA, "2.8.4", 2),
    service("search", "shop", JAVA, "5.3.0", 2),
    service("recommendation", "shop", PYTHON, "0.19.6", 1),
    service("payment", "payments", JAVA, "6.2.2", 2),
    service("fraud-detection", "payments", PYTHON, "0.44.1", 1),
    service("ledger", "payments", JAVA, "3.0.8", 2),
    service("inventory", "logistics", GO, "2.5.5", 2),
    service("shipping", "logistics", GO, "1.9.1", 1),
    service("notification", "logistics", NODE, "2025.9.1", 1),
    service("accounts", "identity", DOTNET, "8.4.0", 2),
];

pub(super) const GATEWAY: usize = 0;
pub(super) const STOREFRONT: usize = 1;
pub(super) const CHECKOUT: usize = 2;
pub(super) const CART: usize = 3;
pub(super) const CATALOG: usize = 4;
pub(super) const PRICING: usize = 5;
pub(super) const SEARCH: usize = 6;
pub(super) const RECOMMENDATION: usize = 7;
pub(super) const PAYMENT: usize = 8;
pub(super) const FRAUD: usize = 9;
pub(super) const LEDGER: usize = 10;
pub(super) const INVENTORY: usize = 11;
pub(super) const SHIPPING: usize = 12;
pub(super) const NOTIFICATION: usize = 13;
pub(super) const ACCOUNTS: usize = 14;
