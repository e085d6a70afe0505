"""Does the gateway find the plugin once its package is installed beside it?"""

import json
import shutil
import subprocess


def test_gateway_plugins_lists_the_vendor_and_its_rule() -> None:
    gateway = shutil.which("gateway")
    assert gateway, "install helpdesk-gateway first"
    ran = subprocess.run([gateway, "plugins", "--json"], check=True, capture_output=True, text=True)
    rows = {(row["kind"], row["name"]): row for row in json.loads(ran.stdout)}
    vendor, rule = rows["vendor", "acme_desk"], rows["rule", "vip_first"]
    assert (vendor["label"], vendor["distribution"]) == ("Acme Desk", "gateway-acme-desk")
    assert "find_effect" in vendor["hooks"]
    assert rule["title"]["pt-BR"] == "VIP primeiro"
