import { ChannelOffload, type ChannelOffloadOptions, loadSystem, XdpError, XdpUnavailableError } from "@turnpike/xdp";
import type { Logger } from "../logger.ts";
import { PlaneUnavailableError } from "../planes/choose-plane.ts";

/** The kernel plane's settings. */
export type KernelPlaneOptions = Pick<ChannelOffloadOptions, "interfaces" | "modes" | "maxChannels">;

/**
 * Attaches the kernel plane's program to its interfaces.
 *
 * @throws {PlaneUnavailableError} if this process may not, or an interface can't be had.
 */
export function openOffload(options: KernelPlaneOptions, logger: Logger): ChannelOffload {
  const warn = (fields: Readonly<Record<string, unknown>>, message: string): void => logger.warn(fields, message);
  try {
    const offload = new ChannelOffload({ ...options, system: loadSystem(), warn });
    const { interfaces, maxChannels } = offload.status();
    const attached = interfaces.map(({ name, mode }) => `${name} (${mode})`);
    logger.info({ interfaces: attached, maxChannels }, "Channels are relayed in the kernel");
    return offload;
  } catch (error) {
    if (error instanceof XdpError) {
      throw new PlaneUnavailableError(`Cannot use the kernel plane: ${error.message}`, { cause: error });
    }
    // What says that this machine or process can't have it is a sentence of its own.
    if (error instanceof XdpUnavailableError) throw new PlaneUnavailableError(error.message, { cause: error });
    throw error;
  }
}
