#!/usr/bin/env python3
"""check_layers.py finds each kind of offence in a made-up tree, and nothing in a clean one."""

import pathlib
import tempfile
import unittest

import check_layers

CMAKE = """
phalanx_module(phx_base DIR src/base DEPS PUBLIC spdlog::spdlog)
phalanx_module(phx_config DIR src/config DEPS PUBLIC phx_base)
phalanx_module(phx_plan DIR src/plan DEPS PUBLIC phx_config phx_base)
phalanx_module(phx_comm DIR src/parallel/comm RECURSE DEPS PUBLIC phx_base)
phalanx_module(phx_parallel DIR src/parallel DEPS PUBLIC phx_comm phx_config phx_base)
phalanx_module(phx_http DIR src/serve/http DEPS PUBLIC phx_base)
phalanx_module(phx_engine DIR src/serve/engine DEPS PUBLIC phx_plan phx_config phx_base)
phalanx_module(phx_layers DIR src/compute/layers DEPS PUBLIC phx_parallel phx_plan phx_base)
phalanx_module(phx_models DIR src/compute/models DEPS PUBLIC phx_layers phx_parallel phx_plan phx_base)
"""


class CheckLayersTest(unittest.TestCase):
    def complaints(self, files, cmake=CMAKE):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "CMakeLists.txt").write_text(cmake)
            for path, text in files.items():
                file = root / "src" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return list(check_layers.check_tree(root))

    def expect(self, path, text, *words):
        complaints = self.complaints({path: text})
        self.assertEqual(len(complaints), 1, complaints)
        for word in (path, *words):
            self.assertIn(word, complaints[0])

    def test_clean(self):
        self.assertEqual(
            [],
            self.complaints(
                {
                    "base/log.cc": '#include "base/log.h"\n#include <spdlog/spdlog.h>\n#include <vector>\n',
                    "serve/engine/engine.cc": '#include "plan/request.h"\n#include "base/status.h"\n',
                    "serve/engine/engine_test.cc": '#include "testing/fake_executor.h"\n',
                    "parallel/comm/shm/shm.cc": '#include "parallel/comm/communicator.h"\n#include "base/wait.h"\n',
                    "compute/layers/linear.cc": '#include "parallel/comm/communicator.h"\n  tp->AllReduce(x);\n',
                    "compute/models/llama_test.cc": '#include "parallel/comm/local/local_group.h"\n',
                    "app/main.cc": '#include "serve/engine/engine.h"\n#include "compute/models/llama.h"\n',
                }
            ),
        )

    def test_upwards(self):
        self.expect("base/a.cc", '\n#include "plan/request.h"\n', ":2:", "plan/request.h")

    def test_sideways(self):
        self.expect("serve/http/a.cc", '#include "serve/engine/engine.h"\n', "serve/engine")

    def test_control_side_sees_no_compute(self):
        self.expect("serve/engine/a.cc", '#include "compute/layers/linear.h"\n', "compute/layers")

    def test_only_tests_use_testing(self):
        self.expect("serve/engine/a.cc", '#include "testing/run_ranks.h"\n', "testing")

    def test_nothing_includes_the_programs(self):
        self.expect("serve/engine/a.cc", '#include "app/serve.h"\n', "app")

    def test_models_and_layers_see_no_transport(self):
        for folder in ("models", "layers"):
            self.expect(f"compute/{folder}/a.cc", '#include "parallel/comm/shm/shm.h"\n', "parallel/comm/shm/shm.h")

    def test_control_side_sees_no_communicator(self):
        self.expect("serve/engine/a.cc", '#include "parallel/comm/communicator.h"\n', "communicator.h")

    def test_libraries_are_wrapped_once(self):
        self.expect("plan/a.cc", "#include <nlohmann/json.hpp>\n", "nlohmann")
        self.expect("serve/engine/a.cc", '#include "phx_text.h"\n', "phx_text.h")

    def test_collectives_stay_in_their_places(self):
        self.expect("compute/models/a.cc", "void F() { group->AllGatherV(a, b, c); }\n", "AllGatherV")

    def test_cmake_cannot_widen_the_bounds(self):
        wider = CMAKE.replace("src/base DEPS PUBLIC", "src/base DEPS PUBLIC phx_plan")
        complaints = self.complaints({}, wider)
        self.assertEqual(len(complaints), 1)
        self.assertIn("src/base may not depend on src/plan", complaints[0])

    def test_cycle(self):
        around = CMAKE.replace("DIR src/serve/http DEPS PUBLIC", "DIR src/serve/http DEPS PUBLIC phx_engine").replace(
            "DIR src/serve/engine DEPS PUBLIC", "DIR src/serve/engine DEPS PUBLIC phx_http"
        )
        files = {
            "serve/http/a.h": '#include "serve/engine/a.h"\n',
            "serve/engine/a.h": '#include "serve/http/a.h"\n',
        }
        complaints = self.complaints(files, around)
        self.assertEqual(len(complaints), 1)
        self.assertIn("serve/engine -> serve/http -> serve/engine", complaints[0])


if __name__ == "__main__":
    unittest.main()
