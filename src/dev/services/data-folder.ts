import { constants } from 'node:fs';
import { access, mkdir, realpath } from 'node:fs/promises';

/**
 * Creates a service's folder if it is missing; its real, absolute path.
 *
 * @throws if we cannot write there
 */
export async function prepareFolder(folder: string): Promise<string> {
  try {
    // Others may pass it but not look around: a PostgreSQL started by root runs as another account. Each service
    // keeps its files readable to its own account alone.
    await mkdir(folder, { recursive: true, mode: 0o711 });
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return await realpath(folder);
  } catch (error) {
    throw new Error(
      `Cannot write in ${folder} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'}): it may have been ` +
        'made by another user, or by root. Remove it, or set DATA_DIR to another folder.',
      { cause: error },
    );
  }
}
