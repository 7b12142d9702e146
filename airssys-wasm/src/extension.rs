//! Functions of the embedder, behind the gate.

use std::sync::{Arc, Weak};

use airssys_wasm_core::capability::Access;
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{Result, WasmError};
use airssys_wasm_core::interface::WitType;
use airssys_wasm_core::runtime::{HostFunction, HostFunctionDefinition, Value};
use async_trait::async_trait;

use crate::instance::InstanceContext;

/// An embedder's function as one instance sees it: counted, checked, then called in the instance's name.
///
/// A denied call of a function that returns `result<_, string>` answers the guest with the denial; any other ends its call.
#[derive(Debug)]
pub(crate) struct GatedFunction {
    function: Arc<dyn HostFunction>,
    /// Weak, because the instance's services own this.
    instance: Weak<InstanceContext>,
}

impl GatedFunction {
    pub(crate) fn guard(
        function: &Arc<dyn HostFunction>,
        instance: &Arc<InstanceContext>,
    ) -> Arc<dyn HostFunction> {
        Arc::new(Self { function: function.clone(), instance: Arc::downgrade(instance) })
    }
}

#[async_trait]
impl HostFunction for GatedFunction {
    fn definition(&self) -> &HostFunctionDefinition {
        self.function.definition()
    }

    async fn call(&self, _: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        let Some(instance) = self.instance.upgrade() else {
            return Err(WasmError::new(airssys_wasm_core::error::ErrorKind::Actor, "host function")
                .saying("the instance has ended"));
        };
        instance.count_host_call()?;
        let definition = self.definition();
        if let Some(name) = &definition.capability {
            let access = Access::Custom { name, object: &definition.function.name };
            if let Err(denial) = instance.demand(access) {
                return if returns_text_errors(definition) {
                    let text = Value::String(denial.to_string());
                    Ok(Some(Value::Result(Err(Some(Box::new(text))))))
                } else {
                    Err(denial.into())
                };
            }
        }
        self.function.call(instance.id(), arguments).await
    }
}

fn returns_text_errors(definition: &HostFunctionDefinition) -> bool {
    matches!(&definition.function.result, Some(WitType::Result { err: Some(err), .. }) if **err == WitType::String)
}
