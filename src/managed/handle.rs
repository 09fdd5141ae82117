//! A handle on a state, without the state's type: at home, or in another process.

use std::sync::Arc;

use super::away_call::AwayCall;
use super::call::{CallPlace, ManagedCall};
use super::connection::Away;
use super::home::StateHome;
use super::messages::CallKind;
use super::reads::ReadCall;
use super::relayed_result;
use crate::task::Call;

#[derive(Debug, Clone)]
pub(super) enum ManagedHandle {
    Home(Arc<StateHome>),
    Away(Arc<Away>),
}

impl ManagedHandle {
    /// A call that has the state alone.
    pub(super) fn submit<C: Call>(&self, arguments: C::Args) -> ManagedCall<C::Output> {
        ManagedCall(match self {
            Self::Home(home) => CallPlace::Home {
                call: home.engine.call::<C>(arguments),
                _home: Arc::clone(home),
            },
            Self::Away(away) => CallPlace::Away(away_call::<C>(away, CallKind::Call, &arguments)),
        })
    }

    /// A call that looks at the state beside others.
    pub(super) fn read<C: Call>(&self, arguments: &C::Args) -> ManagedCall<C::Output> {
        ManagedCall(match self {
            Self::Home(home) => {
                let call = relayed_result::pack::<C>(arguments);
                CallPlace::Read {
                    call: ReadCall::new(&home.engine, C::name(), call),
                    _home: Arc::clone(home),
                }
            }
            Self::Away(away) => CallPlace::Away(away_call::<C>(away, CallKind::Read, arguments)),
        })
    }

    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Home(home) => home.engine.generation(),
            Self::Away(away) => away.generation(),
        }
    }
}

fn away_call<C: Call>(
    away: &Arc<Away>,
    kind: CallKind,
    arguments: &C::Args,
) -> AwayCall<C::Output> {
    AwayCall::new(away, C::name(), kind, relayed_result::pack::<C>(arguments))
}
