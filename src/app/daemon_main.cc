// mindieservice_daemon, also called mindie_llm_server: serves what config.json says.
#include <CLI/CLI.hpp>
#include <string>

#include "app/serve.h"

namespace {

constexpr char kFooter[] = R"(Examples:
  mindieservice_daemon                            serve ../conf/config.json of this program's folder
  mindieservice_daemon --config-file my.json      serve another configuration
  phalanx plan my.json                            see what it would do, without starting it

"Daemon start success!" on standard output means that requests will be answered; the log goes to standard error.
Ctrl-C or SIGTERM lets running requests finish; a second one ends at once.
Exit code: 0 ended as asked, 1 wrong configuration or checkpoint, 2 failure while running.)";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Phalanx: data-parallel inference server for large language models", "mindieservice_daemon"};
  app.footer(kFooter);
  app.set_version_flag("--version", PHX_VERSION);

  phalanx::ServeOptions options;
  options.executable_path = argv[0];
  std::string expert_parallel;
  app.add_option("--config-file", options.config_file, "The config.json to serve")->type_name("PATH");
  app.add_option("--expert-parallel", expert_parallel,
                 "Accepted for compatibility; moe_ep in config.json decides")
      ->check(CLI::IsMember({"true", "false"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return phalanx::RunServe(options);
}
