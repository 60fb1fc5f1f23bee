from __future__ import annotations

from apps.core.schema import camelize_properties


def test_the_schema_speaks_the_names_of_the_api():
    schema = {
        "components": {
            "schemas": {
                "Order": {
                    "properties": {"order_id": {"type": "string"}, "lines": {"items": {}}},
                    "required": ["order_id"],
                }
            }
        },
        "paths": {"/api/orders/{order_id}": {"parameters": [{"name": "order_id"}]}},
    }

    result = camelize_properties(schema, None, None, public=True)

    order = result["components"]["schemas"]["Order"]
    assert set(order["properties"]) == {"orderId", "lines"}
    assert order["required"] == ["orderId"]
    assert "/api/orders/{order_id}" in result["paths"]
