//! What the handles of objects without a value have in common.

/// Writes `Clone`, `Serialize`, `Deserialize` and the constructor of a handle whose only field is `side`.
macro_rules! handle_of {
    ($handle:ident, $kind:expr) => {
        impl Clone for $handle {
            fn clone(&self) -> Self {
                Self {
                    side: ::std::sync::Arc::clone(&self.side),
                }
            }
        }

        impl ::serde::Serialize for $handle {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::sync::local_side::serialize(&self.side, serializer)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $handle {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let side = $crate::sync::local_side::deserialize(deserializer, $kind, 0)?;
                Ok(Self { side })
            }
        }
    };
}

pub(super) use handle_of;
