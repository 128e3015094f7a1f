// The tool beside the daemon: phalanx plan | chat | config-reference.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "app/chat.h"
#include "app/plan_report.h"
#include "config/config_loader.h"

namespace {

constexpr char kFooter[] = R"(Examples:
  phalanx plan conf/config.json          ranks, cores, memory and cache capacity, without starting anything
  phalanx chat                           chat with the server on 127.0.0.1:1025
  phalanx chat "Why is the sky blue?"    one answer
  echo "A haiku, please" | phalanx chat  the same from a pipe

The server itself is mindieservice_daemon, beside this program.)";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Phalanx: data-parallel inference server for large language models", "phalanx"};
  app.footer(kFooter);
  app.set_version_flag("--version", PHX_VERSION);
  app.require_subcommand(1);

  std::string config_path;
  CLI::App* plan =
      app.add_subcommand("plan", "Show what a config.json will do on this machine, without starting it");
  plan->add_option("CONFIG", config_path, "The config.json (default: the one beside this program)");

  phalanx::ChatOptions chat_options;
  CLI::App* chat = app.add_subcommand("chat", "Chat with a running server in the terminal");
  chat->add_option("--url", chat_options.url, "The server's address")->capture_default_str();
  chat->add_option("--model", chat_options.model, "Model name (default: the server's first)");
  chat->add_option("--system", chat_options.system, "System message");
  chat->add_option("--max-tokens", chat_options.max_tokens,
                   "Longest answer in tokens (default: the server's limit)");
  chat->add_option("--temperature", chat_options.temperature, "0: always the most likely token");
  chat->add_option("PROMPT", chat_options.prompt, "Ask this, print the answer and end");

  CLI::App* reference =
      app.add_subcommand("config-reference", "Print every field of config.json as Markdown");

  CLI11_PARSE(app, argc, argv);
  if (plan->parsed()) return phalanx::RunPlan(config_path, argv[0]);
  if (chat->parsed()) return phalanx::RunChat(chat_options);
  if (reference->parsed()) std::fputs(phalanx::ConfigReferenceMarkdown().c_str(), stdout);
  return 0;
}
