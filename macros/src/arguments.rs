//! The arguments of the two attributes.
//!
//! Must stay true: reading does not stop at the first mistake. Every valid argument counts, above
//! all `crate`, and every invalid argument is reported at its own place. So the function is
//! expanded in any case, and its expansion adds no error of its own.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, Meta, MetaNameValue, Path, Token, parse_quote};

use crate::attribute::{EntryAttribute, RuntimeFlavor};

/// The accepted arguments, as the message about an unknown argument lists them.
const ACCEPTED: &str =
    "expected one of `flavor`, `worker_threads`, `start_paused`, `name`, `crate`";

/// The runtime that an attribute asks for, and the path of the `procession` crate.
pub(crate) struct Arguments {
    pub(crate) flavor: RuntimeFlavor,
    pub(crate) worker_threads: Option<usize>,
    /// With the argument's span, for the error of a Tokio without `test-util`.
    pub(crate) start_paused: Option<(bool, Span)>,
    pub(crate) name: Option<String>,
    pub(crate) procession: Path,
}

impl Arguments {
    /// Reads the arguments of `entry`. A missing or invalid argument has its default.
    pub(crate) fn read(entry: EntryAttribute, tokens: TokenStream) -> (Self, Option<Error>) {
        let metas = match Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(metas) => metas,
            Err(error) => return GivenArguments::default().complete(entry, Some(error)),
        };
        let mut given = GivenArguments::default();
        let mut faults = None;
        for meta in &metas {
            if let Err(error) = given.read(meta) {
                join(&mut faults, error);
            }
        }
        given.complete(entry, faults)
    }
}

/// The arguments as they were written, each with its span.
#[derive(Default)]
struct GivenArguments {
    flavor: Option<(RuntimeFlavor, Span)>,
    worker_threads: Option<(usize, Span)>,
    start_paused: Option<(bool, Span)>,
    name: Option<(String, Span)>,
    procession: Option<(Path, Span)>,
}

impl GivenArguments {
    fn read(&mut self, meta: &Meta) -> Result<(), Error> {
        let Some(key) = meta.path().get_ident() else {
            let message = format!("unknown argument: {ACCEPTED}");
            return Err(Error::new_spanned(meta.path(), message));
        };
        let Meta::NameValue(pair) = meta else {
            return Err(Error::new_spanned(meta, without_value(key)));
        };
        match key.to_string().as_str() {
            "flavor" => put(&mut self.flavor, key, flavor(pair)?),
            "worker_threads" => put(&mut self.worker_threads, key, thread_count(pair)?),
            "start_paused" => put(&mut self.start_paused, key, boolean(pair)?),
            "name" => put(&mut self.name, key, runtime_name(pair)?),
            "crate" => put(&mut self.procession, key, path(pair)?),
            _ => Err(Error::new_spanned(key, unknown(key))),
        }
    }

    /// Fills in the defaults and checks the combination of the arguments.
    fn complete(
        self,
        entry: EntryAttribute,
        mut faults: Option<Error>,
    ) -> (Arguments, Option<Error>) {
        let flavor = self
            .flavor
            .map_or(entry.default_flavor(), |(flavor, _)| flavor);
        let threaded = flavor == RuntimeFlavor::MultiThread;
        // An unreadable flavor is reported already. A check against the default would add a false error.
        if faults.is_none() {
            faults = self.unsupported(entry, threaded);
        }
        let arguments = Arguments {
            flavor,
            worker_threads: self
                .worker_threads
                .filter(|_| threaded)
                .map(|(count, _)| count),
            start_paused: self.start_paused.filter(|_| !threaded),
            name: self.name.map(|(name, _)| name),
            procession: self
                .procession
                .map_or_else(|| parse_quote!(::procession), |(path, _)| path),
        };
        (arguments, faults)
    }

    /// The first argument that the chosen flavor does not accept.
    fn unsupported(&self, entry: EntryAttribute, threaded: bool) -> Option<Error> {
        let (key, flavor, span) = match (threaded, &self.worker_threads, &self.start_paused) {
            (false, Some((_, span)), _) => ("worker_threads", "multi_thread", span),
            (true, _, Some((_, span))) => ("start_paused", "current_thread", span),
            _ => return None,
        };
        let attribute = entry.attribute();
        let message = format!(
            "`{key}` needs the `{flavor}` runtime: \
             write `#[{attribute}(flavor = \"{flavor}\", {key} = …)]`"
        );
        Some(Error::new(*span, message))
    }
}

/// Adds `error` to the errors so far.
pub(crate) fn join(faults: &mut Option<Error>, error: Error) {
    match faults {
        Some(faults) => faults.combine(error),
        None => *faults = Some(error),
    }
}

fn put<T>(slot: &mut Option<(T, Span)>, key: &Ident, value: T) -> Result<(), Error> {
    if slot.is_some() {
        let message = format!("`{key}` is given more than once");
        return Err(Error::new_spanned(key, message));
    }
    *slot = Some((value, key.span()));
    Ok(())
}

fn flavor(pair: &MetaNameValue) -> Result<RuntimeFlavor, Error> {
    RuntimeFlavor::named(&string(pair)?, pair.value.span())
}

fn thread_count(pair: &MetaNameValue) -> Result<usize, Error> {
    let count = match literal(pair) {
        Some(Lit::Int(number)) => number.base10_parse().ok(),
        _ => None,
    };
    count
        .filter(|&count| count > 0)
        .ok_or_else(|| wrong_value(pair, "a number of at least 1", "4"))
}

fn boolean(pair: &MetaNameValue) -> Result<bool, Error> {
    match literal(pair) {
        Some(Lit::Bool(value)) => Ok(value.value),
        _ => Err(wrong_value(pair, "`true` or `false`", "true")),
    }
}

/// Tokio panics at an empty name, so an empty name is refused at compile time.
fn runtime_name(pair: &MetaNameValue) -> Result<String, Error> {
    let name = string(pair)?;
    if name.is_empty() {
        return Err(Error::new_spanned(&pair.value, "`name` must not be empty"));
    }
    Ok(name)
}

fn path(pair: &MetaNameValue) -> Result<Path, Error> {
    match literal(pair) {
        Some(Lit::Str(text)) => text.parse().map_err(|_| {
            let message = format!("`{}` is not a path to the `procession` crate", text.value());
            Error::new_spanned(text, message)
        }),
        _ => Err(wrong_value(pair, "a path in quotes", "\"::procession\"")),
    }
}

fn string(pair: &MetaNameValue) -> Result<String, Error> {
    match literal(pair) {
        Some(Lit::Str(text)) => Ok(text.value()),
        _ => Err(wrong_value(pair, "a string", "\"…\"")),
    }
}

fn literal(pair: &MetaNameValue) -> Option<&Lit> {
    match &pair.value {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        _ => None,
    }
}

fn wrong_value(pair: &MetaNameValue, what: &str, example: &str) -> Error {
    let key = pair.path.to_token_stream();
    let message = format!("`{key}` takes {what}: `{key} = {example}`");
    Error::new_spanned(&pair.value, message)
}

fn without_value(key: &Ident) -> String {
    match key.to_string().as_str() {
        "multi_thread" | "threaded_scheduler" => {
            "the flavor is a value: write `flavor = \"multi_thread\"`".to_owned()
        }
        "current_thread" | "basic_scheduler" | "single_thread" => {
            "the flavor is a value: write `flavor = \"current_thread\"`".to_owned()
        }
        "local" => "the flavor is a value: write `flavor = \"local\"`".to_owned(),
        "flavor" | "worker_threads" | "start_paused" | "name" | "crate" => {
            format!("`{key}` needs a value: write `{key} = …`")
        }
        _ => unknown(key),
    }
}

fn unknown(key: &Ident) -> String {
    match key.to_string().as_str() {
        "core_threads" | "max_threads" => {
            format!("`{key}` is called `worker_threads`")
        }
        "unhandled_panic" => "`unhandled_panic` is not supported: Tokio has it only in unstable \
             builds; build the runtime by hand after `procession::init()` to use it"
            .to_owned(),
        _ => format!("unknown argument `{key}`: {ACCEPTED}"),
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;
    use EntryAttribute::{Main, Test};

    fn accepted(entry: EntryAttribute, tokens: TokenStream) -> Arguments {
        let (arguments, faults) = Arguments::read(entry, tokens);
        assert!(faults.is_none(), "{faults:?}");
        arguments
    }

    /// Reading `tokens` gives one error, and its message contains `words`.
    #[track_caller]
    fn says(entry: EntryAttribute, tokens: TokenStream, words: &str) {
        let (_, faults) = Arguments::read(entry, tokens);
        let faults = faults.expect("the arguments should be refused");
        let messages: Vec<_> = faults.into_iter().map(|error| error.to_string()).collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains(words), "{messages:?} has no {words:?}");
    }

    fn printed(path: &Path) -> String {
        path.to_token_stream().to_string()
    }

    #[test]
    fn defaults_are_tokios() {
        assert_eq!(accepted(Main, quote!()).flavor, RuntimeFlavor::MultiThread);
        let test = accepted(Test, quote!());
        assert_eq!(test.flavor, RuntimeFlavor::CurrentThread);
        assert_eq!(test.worker_threads, None);
        assert!(test.start_paused.is_none());
        assert_eq!(test.name, None);
        assert_eq!(printed(&test.procession), ":: procession");
    }

    #[test]
    fn every_argument_is_read() {
        let threaded = quote! {
            flavor = "multi_thread", worker_threads = 3, name = "rt", crate = "a::b",
        };
        let threaded = accepted(Test, threaded);
        assert_eq!(threaded.flavor, RuntimeFlavor::MultiThread);
        assert_eq!(threaded.worker_threads, Some(3));
        assert_eq!(threaded.name.as_deref(), Some("rt"));
        assert_eq!(printed(&threaded.procession), "a :: b");
        let paused = quote! { start_paused = true, flavor = "current_thread" };
        let paused = accepted(Main, paused);
        assert_eq!(paused.flavor, RuntimeFlavor::CurrentThread);
        assert!(matches!(paused.start_paused, Some((true, _))));
        let local = accepted(Main, quote! { flavor = "local" });
        assert_eq!(local.flavor, RuntimeFlavor::Local);
    }

    #[test]
    fn unknown_arguments_name_the_known_ones() {
        says(Main, quote! { threads = 4 }, ACCEPTED);
        says(Main, quote! { threads }, ACCEPTED);
        says(Main, quote! { threads(4) }, ACCEPTED);
        says(Main, quote! { a::b = 4 }, ACCEPTED);
        says(Main, quote! { core_threads = 4 }, "`worker_threads`");
        says(Main, quote! { unhandled_panic = "ignore" }, "unstable");
        says(Test, quote! { unhandled_panic }, "unstable");
    }

    #[test]
    fn duplicates_are_refused() {
        let doubles = [
            quote! { flavor = "local", flavor = "local" },
            quote! { worker_threads = 1, worker_threads = 2 },
            quote! { start_paused = true, flavor = "local", start_paused = true },
            quote! { name = "a", name = "b" },
            quote! { crate = "a", crate = "b" },
        ];
        for double in doubles {
            says(Main, double, "is given more than once");
        }
    }

    #[test]
    fn flavors_are_checked() {
        let all = "`multi_thread`, `current_thread`, `local`";
        says(Main, quote! { flavor = "fast" }, all);
        let threaded = quote! { flavor = "threaded_scheduler" };
        says(Main, threaded, "called `multi_thread`");
        let single = quote! { flavor = "single_thread" };
        says(Main, single, "called `current_thread`");
        says(Main, quote! { flavor = 4 }, "takes a string");
        says(Main, quote! { flavor }, "needs a value");
    }

    #[test]
    fn flavor_without_key_is_explained() {
        let current = "write `flavor = \"current_thread\"`";
        says(Main, quote! { current_thread }, current);
        says(Main, quote! { basic_scheduler }, current);
        let multi = "write `flavor = \"multi_thread\"`";
        says(Main, quote! { multi_thread }, multi);
        says(Main, quote! { local }, "write `flavor = \"local\"`");
    }

    #[test]
    fn values_are_checked() {
        says(Main, quote! { worker_threads = 0 }, "at least 1");
        says(Main, quote! { worker_threads = -1 }, "at least 1");
        says(Main, quote! { worker_threads = "4" }, "at least 1");
        says(Main, quote! { worker_threads = N }, "at least 1");
        says(Test, quote! { start_paused = 1 }, "takes `true` or");
        says(Main, quote! { crate = procession }, "a path in quotes");
        says(Main, quote! { crate = "not a path" }, "is not a path");
        says(Main, quote! { name = "" }, "must not be empty");
        says(Main, quote! { flavor: "local" }, "expected");
    }

    #[test]
    fn arguments_of_other_flavors_are_refused() {
        let threads = quote! { flavor = "current_thread", worker_threads = 2 };
        says(
            Main,
            threads,
            "#[procession::main(flavor = \"multi_thread\"",
        );
        let threads = quote! { flavor = "local", worker_threads = 2 };
        says(Main, threads, "needs the `multi_thread` runtime");
        let threads = quote! { worker_threads = 2 };
        says(
            Test,
            threads,
            "#[procession::test(flavor = \"multi_thread\"",
        );
        let paused = quote! { start_paused = true };
        says(Main, paused, "needs the `current_thread` runtime");
    }

    #[test]
    fn valid_arguments_count_beside_invalid_ones() {
        let tokens = quote! {
            flavor = "fast", threads = 4, crate = "elsewhere", flavor = "local"
        };
        let (arguments, faults) = Arguments::read(Main, tokens);
        assert_eq!(faults.expect("two are wrong").into_iter().count(), 2);
        assert_eq!(printed(&arguments.procession), "elsewhere");
        assert_eq!(arguments.flavor, RuntimeFlavor::Local);
    }
}
