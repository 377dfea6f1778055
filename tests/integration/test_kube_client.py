"""The kube module (client, reflector, leader election) against a real API server, by a program of its own."""

import os
import subprocess

import rig

PROGRAM = rig.REPOSITORY / "build" / rig.PRESET / "kube_client"


def test_the_kube_module_against_a_real_api_server(cluster):
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig),
        "KS_CLUSTER_DIR": str(cluster.folder),
        "KS_CLUSTER_SH": str(rig.REPOSITORY / "hack" / "cluster.sh"),
    }
    ran = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SKIPPED" not in ran.stdout
