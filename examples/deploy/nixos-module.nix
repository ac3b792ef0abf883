# Commands and the publisher under the source locks of holdfast, as systemd services. See README.md beside it.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:

let
  inherit (lib)
    literalExpression
    mapAttrs'
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    nameValuePair
    types
    ;

  cfg = config.services.holdfast;
  json = pkgs.formats.json { };
  locks = "/run/holdfast/locks";

  # The settings of the units beside this file, where each is explained.
  service = user: {
    Type = "exec";
    KillMode = "control-group";
    KillSignal = "SIGTERM";
    SendSIGKILL = true;
    Delegate = true;
    User = user;
    Group = cfg.group;
    UMask = "0007";
    ProtectSystem = "strict";
    ProtectHome = true;
    PrivateTmp = true;
    ProtectProc = "default";
    ProcSubset = "all";
    ProtectControlGroups = false;
    ProtectClock = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    NoNewPrivileges = true;
    CapabilityBoundingSet = "";
    LockPersonality = true;
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_UNIX"
      "AF_NETLINK"
    ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    MemoryDenyWriteExecute = false;
  }
  // lockAccess user;

  # systemd gives a RuntimeDirectory, and all in it, to the user of the unit that started last: only for the one user.
  lockAccess =
    user:
    if user == cfg.user then
      {
        RuntimeDirectory = "holdfast";
        RuntimeDirectoryMode = "0770";
        RuntimeDirectoryPreserve = true;
      }
    else
      { ReadWritePaths = [ "/run/holdfast" ]; };

  afterNetwork = {
    wants = [ "network-online.target" ];
    after = [ "network-online.target" ];
  };

  commandService =
    name: command:
    nameValuePair "holdfast-run-${name}" (
      afterNetwork
      // {
        description = "holdfast: ${name}, which holds its source";
        wantedBy = mkIf (command.startAt == [ ]) [ "multi-user.target" ];
        inherit (command) startAt;
        # util-linux: its flock, where the addon for kernel locks does not load.
        path = [ pkgs.util-linux ] ++ command.path;
        environment.HOLDFAST_LOCK_DIR = locks;
        serviceConfig = mkMerge [
          (service command.user)
          {
            ExecStart = utils.escapeSystemdExecArgs (
              [
                "${cfg.package}/bin/holdfast"
                "run"
                "--source"
                command.source
                "--grace"
                "${toString command.grace}s"
                "--on-busy"
                command.onBusy
                "--"
              ]
              ++ command.command
            );
            # Longer than the grace, so that the program, which can tell what it ended, is first.
            TimeoutStopSec = "${toString (command.grace + 2)}s";
            Restart = if command.startAt == [ ] then "always" else "no";
            RestartSec = "10s";
            RestartPreventExitStatus = 64;
            StateDirectory = "holdfast/${name}";
            StateDirectoryMode = "0750";
            WorkingDirectory = "%S/holdfast/${name}";
            DevicePolicy = "closed";
            DeviceAllow = map (device: "${device} rw") command.devices;
            SupplementaryGroups = command.extraGroups;
            ReadWritePaths = command.writablePaths;
          }
          (mkIf (command.environmentFile != null) { EnvironmentFile = command.environmentFile; })
        ];
      }
    );

  publisherService = afterNetwork // {
    description = "holdfast publisher: live TV sources, each read once, for any number of viewers";
    wantedBy = [ "multi-user.target" ];
    path = [ pkgs.util-linux ];
    environment = {
      HOLDFAST_LOCK_DIR = locks;
      FFMPEG_PATH = "${cfg.publisher.ffmpeg}/bin/ffmpeg";
    };
    serviceConfig = mkMerge [
      (service cfg.user)
      {
        ExecStart = utils.escapeSystemdExecArgs [
          "${cfg.package}/bin/holdfast-publisher"
          "--config"
          (toString cfg.publisher.configFile)
          "--log"
          "json"
        ];
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        TimeoutStopSec = "10s";
        Restart = "on-failure";
        RestartSec = "5s";
        RestartPreventExitStatus = 2;
        OOMPolicy = "continue";
        DevicePolicy = "closed";
        StateDirectory = "holdfast-publisher";
        StateDirectoryMode = "0700";
      }
      (mkIf (tokens != [ ]) { LoadCredential = tokens; })
    ];
  };

  # systemd reads them, and hands them to the publisher alone.
  tokens =
    credential "operator-token" cfg.publisher.operatorTokenFile
    ++ credential "publish-token" cfg.publisher.publishTokenFile;
  credential = name: path: if path == null then [ ] else [ "${name}:${path}" ];

  command =
    { config, ... }:
    {
      options = {
        source = mkOption {
          type = types.nonEmptyStr;
          example = "http://192.168.1.20:5004/auto/v5.1";
          description = ''
            What is locked while the command runs: a URL, `hdhomerun:<DeviceID>/v<channel>`, or the path of a device or
            file. It becomes part of the world-readable Nix store and of a command line: no password belongs in it, and
            the lock needs none.
          '';
        };
        command = mkOption {
          type = types.nonEmptyListOf types.str;
          example = literalExpression ''[ "''${pkgs.ffmpeg}/bin/ffmpeg" "-i" "http://192.168.1.20:5004/auto/v5.1" "out.ts" ]'';
          description = ''
            The program and its arguments, each taken literally: no shell, no variable and no systemd specifier is
            expanded. It ends with everything that it started.
          '';
        };
        grace = mkOption {
          type = types.ints.between 0 3600;
          default = 8;
          description = ''
            Seconds from SIGTERM to SIGKILL, for the whole process tree of the command. systemd follows two seconds later.
          '';
        };
        onBusy = mkOption {
          type = types.enum [
            "skip"
            "fail"
            "wait"
          ];
          default = if config.startAt == [ ] then "fail" else "skip";
          defaultText = literalExpression ''if startAt == [ ] then "fail" else "skip"'';
          description = ''
            While another holds the source: `skip` logs who holds it and ends without an error, `fail` ends with exit code
            75, after which a service without `startAt` is tried again in 10 seconds, `wait` waits in turn.
          '';
        };
        user = mkOption {
          type = types.nonEmptyStr;
          default = cfg.user;
          defaultText = literalExpression "config.services.holdfast.user";
          description = "The user that the command runs as. One of your own must exist; the group is always the shared one.";
        };
        extraGroups = mkOption {
          type = types.listOf types.nonEmptyStr;
          default = [ ];
          example = [ "video" ];
          description = "Further groups of the command, such as that of a capture card.";
        };
        devices = mkOption {
          type = types.listOf types.nonEmptyStr;
          default = [ ];
          example = [ "/dev/video0" ];
          description = "Devices that the command may read and write; all others are closed to it.";
        };
        writablePaths = mkOption {
          type = types.listOf types.nonEmptyStr;
          default = [ ];
          example = [ "/srv/archive" ];
          description = "What the command may write besides `/var/lib/holdfast/<name>`, where it starts.";
        };
        environmentFile = mkOption {
          type = types.nullOr types.path;
          default = null;
          description = "A file of `NAME=value` lines for the environment of the command, for what must not be in the Nix store.";
        };
        path = mkOption {
          type = types.listOf types.package;
          default = [ ];
          description = "Packages whose programs the command finds on its PATH.";
        };
        startAt = mkOption {
          type = types.listOf types.nonEmptyStr;
          default = [ ];
          example = [ "*-*-* 19:59:00" ];
          description = "When a timer starts the command, see {manpage}`systemd.time(7)`. Empty: it runs always.";
        };
      };
    };
in
{
  options.services.holdfast = {
    package = mkOption {
      type = types.package;
      description = "The npm package holdfast, with `bin/holdfast` and `bin/holdfast-publisher`.";
    };
    user = mkOption {
      type = types.nonEmptyStr;
      default = "holdfast";
      description = "The user of the publisher and of the commands that name none. It is made.";
    };
    group = mkOption {
      type = types.nonEmptyStr;
      default = "holdfast";
      description = "The group that shares the locks in `/run/holdfast/locks`. It is made.";
    };
    commands = mkOption {
      type = types.attrsOf (types.submodule command);
      default = { };
      description = "Commands that each run while they hold their source, as `holdfast-run-<name>.service`.";
    };
    publisher = {
      enable = mkEnableOption "the holdfast publisher";
      settings = mkOption {
        type = json.type;
        default = { };
        example = {
          device = [ "192.168.1.20" ];
          bind = "0.0.0.0";
          port = 8080;
        };
        description = ''
          The configuration file of the publisher, see `holdfast-publisher --help`. It becomes part of the world-readable
          Nix store; use `configFile` for addresses with passwords.
        '';
      };
      configFile = mkOption {
        type = types.path;
        default = json.generate "publisher.json" cfg.publisher.settings;
        defaultText = literalExpression "the file of `settings`";
        description = "A configuration file to use instead of `settings`. The user of the publisher must be able to read it.";
      };
      operatorTokenFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/secrets/holdfast-operator-token";
        description = ''
          The path of a file with the token that allows to restart and stop channels; without one nobody may. systemd reads
          it as root and hands it to the publisher alone.
        '';
      };
      publishTokenFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/secrets/holdfast-publish-token";
        description = "The path of a file with the token that allows other publishers to announce their channels.";
      };
      ffmpeg = mkOption {
        type = types.package;
        default = pkgs.ffmpeg;
        defaultText = literalExpression "pkgs.ffmpeg";
        description = "The ffmpeg that reads the sources.";
      };
      openFirewall = mkOption {
        type = types.bool;
        default = false;
        description = "Whether other hosts may connect to the port of `settings`.";
      };
    };
  };

  config = mkIf (cfg.publisher.enable || cfg.commands != { }) {
    assertions = map (name: {
      assertion = builtins.match "[A-Za-z0-9_.-]+" name != null;
      message = "services.holdfast.commands: ${name} can't be part of a unit's name; use letters, digits, and _ . -";
    }) (builtins.attrNames cfg.commands);

    users.users.${cfg.user} = {
      isSystemUser = true;
      group = cfg.group;
    };
    users.groups.${cfg.group} = { };

    systemd.tmpfiles.rules = [
      "d /run/holdfast 0770 ${cfg.user} ${cfg.group} -"
      "d ${locks} 0770 ${cfg.user} ${cfg.group} -"
    ];
    systemd.services = mkMerge [
      (mapAttrs' commandService cfg.commands)
      (mkIf cfg.publisher.enable { holdfast-publisher = publisherService; })
    ];
    environment.systemPackages = [ cfg.package ];
    networking.firewall.allowedTCPPorts = mkIf (cfg.publisher.enable && cfg.publisher.openFirewall) [
      (cfg.publisher.settings.port or 8080)
    ];
  };
}
