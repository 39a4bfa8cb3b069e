export { askRelay, ControlError, type ControlRequest, followRelay } from "./control-client.ts";
export {
  type ControlSocket,
  ControlSocketError,
  type ControlSocketOptions,
  startControlSocket,
} from "./control-socket.ts";
